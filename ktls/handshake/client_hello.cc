#include "ktls/handshake/client_hello.h"

#include <array>

#include "ktls/base/wire.h"
#include "ktls/records/record.h"

namespace sallyport::ktls {
namespace {

constexpr std::uint8_t kHostName = 0;
constexpr std::size_t kMaxHostName = 255;
constexpr std::uint8_t kClientHello = 1;
constexpr std::size_t kHandshakeHeaderSize = 4;  // RFC 8446 4: type and length

std::string_view text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

bool holds_record(std::span<const std::byte> bytes) {
  if (!bytes.empty() && !is_content_type(bytes.front())) return true;
  if (bytes.size() < kRecordHeaderSize) return false;
  const auto header = bytes.first<kRecordHeaderSize>();
  return !announces_record(header) ||
         bytes.size() >= kRecordHeaderSize + RecordHeader::parse(header).length;
}

bool holds_client_hello(std::span<const std::byte> bytes) {
  std::size_t needed = kHandshakeHeaderSize;
  std::array<std::byte, kHandshakeHeaderSize> message_header{};
  std::size_t have = 0;  // of the message
  for (auto rest = bytes; have < needed;) {
    if (!holds_record(rest)) return false;
    if (rest.size() < kRecordHeaderSize || !announces_record(rest.first<kRecordHeaderSize>()))
      return true;
    const auto header = RecordHeader::parse(rest.first<kRecordHeaderSize>());
    const auto fragment = rest.subspan(kRecordHeaderSize, header.length);
    if (header.type != ContentType::kHandshake || fragment.empty()) return true;
    for (std::size_t i = 0; i < fragment.size() && have + i < message_header.size(); ++i)
      message_header[have + i] = fragment[i];
    have += fragment.size();
    rest = rest.subspan(kRecordHeaderSize + header.length);
    if (have < kHandshakeHeaderSize) continue;
    WireReader in(message_header);
    if (in.u8() != kClientHello) return true;
    const std::size_t high = in.u8();
    needed = kHandshakeHeaderSize + (high << 16 | in.u16());
    if (needed > kMaxClientHello) return true;
  }
  return true;
}

std::optional<std::string_view> parse_server_name(std::span<const std::byte> body) {
  WireReader in(body);
  const std::size_t list = in.u16();
  const bool whole = list + 2 == body.size();
  const std::uint8_t type = in.u8();
  const std::string_view name = in.text();
  // A list of several names has had no meaning since RFC 6066; nobody sends one.
  if (!whole || !in.at_end() || type != kHostName) return std::nullopt;
  if (name.empty() || name.size() > kMaxHostName || name.contains('\0')) return std::nullopt;
  return name;
}

std::optional<std::vector<std::string_view>> parse_alpn(std::span<const std::byte> body) {
  WireReader in(body);
  const std::size_t list = in.u16();
  if (list == 0 || list + 2 != body.size()) return std::nullopt;
  std::vector<std::string_view> protocols;
  while (!in.at_end()) {
    const std::string_view protocol = text(in.take(in.u8()));
    if (!in.good() || protocol.empty()) return std::nullopt;
    protocols.push_back(protocol);
  }
  return protocols;
}

bool names_version(std::span<const std::byte> body, std::uint16_t version) {
  WireReader in(body);
  const std::size_t list = in.u8();
  if (list + 1 != body.size()) return false;
  bool named = false;
  while (!in.at_end()) {
    const std::uint16_t offered = in.u16();
    if (!in.good()) return false;
    named = named || offered == version;
  }
  return named;
}

}  // namespace sallyport::ktls
