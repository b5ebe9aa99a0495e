#include "ktls/handshake/client_hello.h"

#include "ktls/base/wire.h"
#include "ktls/records/record.h"

namespace sallyport::ktls {
namespace {

constexpr std::uint8_t kHostName = 0;
constexpr std::size_t kMaxHostName = 255;

std::string_view text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

constexpr std::uint8_t kClientHello = 1;
constexpr std::uint16_t kPreSharedKey = 41;

}  // namespace

bool holds_record(std::span<const std::byte> bytes) {
  if (!bytes.empty() && !is_content_type(bytes.front())) return true;
  if (bytes.size() < kRecordHeaderSize) return false;
  const auto header = bytes.first<kRecordHeaderSize>();
  return !announces_record(header) ||
         bytes.size() >= kRecordHeaderSize + RecordHeader::parse(header).length;
}

bool offers_resumption(std::span<const std::byte> bytes) {
  if (bytes.size() < kRecordHeaderSize) return false;
  const auto header = RecordHeader::parse(bytes.first<kRecordHeaderSize>());
  if (header.type != ContentType::kHandshake) return false;
  WireReader record(bytes.subspan(kRecordHeaderSize));
  WireReader message(record.take(header.length));
  if (message.u8() != kClientHello) return false;
  const std::size_t high = message.u8();
  WireReader hello(message.take(high << 16 | message.u16()));
  hello.take(2 + 32);       // legacy_version, random
  hello.take(hello.u8());   // legacy_session_id
  hello.take(hello.u16());  // cipher_suites
  hello.take(hello.u8());   // legacy_compression_methods
  WireReader extensions(hello.take(hello.u16()));
  if (!hello.at_end()) return false;
  std::uint16_t last = 0;
  while (!extensions.at_end()) {
    last = extensions.u16();
    extensions.take(extensions.u16());
    if (!extensions.good()) return false;
  }
  return last == kPreSharedKey;
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
