#include "ktls/handshake/client_hello.h"

#include <cstring>

#include "ktls/base/wire.h"
#include "ktls/records/record.h"

namespace sallyport::ktls {
namespace {

constexpr std::uint8_t kHostName = 0;
constexpr std::size_t kMaxHostName = 255;
constexpr std::uint8_t kClientHello = 1;
constexpr std::size_t kRandomSize = 32;
constexpr std::uint16_t kPreSharedKey = 41;

// False if it does not end behind a number of two bytes.
bool rest_has(WireReader& in, std::uint16_t wanted) {
  bool found = false;
  while (!in.at_end()) {
    const std::uint16_t each = in.u16();
    if (!in.good()) return false;
    found = found || each == wanted;
  }
  return found;
}

}  // namespace

bool holds_record(std::span<const std::byte> bytes) {
  if (!bytes.empty() && !is_content_type(bytes.front())) return true;
  if (bytes.size() < kRecordHeaderSize) return false;
  const auto header = bytes.first<kRecordHeaderSize>();
  return !announces_record(header) ||
         bytes.size() >= kRecordHeaderSize + RecordHeader::parse(header).length;
}

std::optional<std::size_t> client_hello_size(std::span<const std::byte> message) {
  WireReader in(message);
  const std::uint8_t type = in.u8();
  const std::size_t high = in.u8();
  const std::size_t size = high << 16 | in.u16();
  if (!in.good() || type != kClientHello) return std::nullopt;
  return kHandshakeHeaderSize + size;
}

bool ClientHelloFragments::add(std::span<const std::byte> received) {
  bytes_.insert(bytes_.end(), received.begin(), received.end());
  std::size_t next = joined_;
  while (joined_ < kRecordHeaderSize + message_size()) {
    const std::size_t size = fragment_at(next);
    if (size == 0) break;
    const auto record = std::span(bytes_).subspan(next, kRecordHeaderSize + size);
    const auto kept = joined_ == 0 ? record : record.subspan(kRecordHeaderSize);
    std::memmove(bytes_.data() + joined_, kept.data(), kept.size());
    joined_ += kept.size();
    next += record.size();
  }
  bytes_.erase(bytes_.begin() + static_cast<std::ptrdiff_t>(joined_),
               bytes_.begin() + static_cast<std::ptrdiff_t>(next));
  if (joined_ > 0) {
    const std::size_t length = joined_ - kRecordHeaderSize;
    bytes_[3] = static_cast<std::byte>(length >> 8);
    bytes_[4] = static_cast<std::byte>(length & 0xff);
  }
  const std::size_t needed = message_size();
  return needed > kMaxClientHello || joined_ >= kRecordHeaderSize + needed ||
         holds_record(std::span(bytes_).subspan(joined_));
}

// The size of the fragment in the whole record at `position`; 0 where there is none that can be
// joined.
std::size_t ClientHelloFragments::fragment_at(std::size_t position) const {
  const auto rest = std::span(bytes_).subspan(position);
  if (!holds_record(rest) || rest.size() < kRecordHeaderSize) return 0;
  const auto bytes = rest.first<kRecordHeaderSize>();
  if (!announces_record(bytes)) return 0;
  const auto header = RecordHeader::parse(bytes);
  if (header.type != ContentType::kHandshake) return 0;
  const bool fits = joined_ == 0 || joined_ - kRecordHeaderSize + header.length <= kMaxClientHello;
  return fits ? header.length : 0;
}

// The size of the ClientHello with its header, as far as that is known; 0 for another message,
// which OpenSSL refuses by its first byte.
std::size_t ClientHelloFragments::message_size() const {
  if (joined_ <= kRecordHeaderSize) return kHandshakeHeaderSize;
  const auto message = std::span(bytes_).first(joined_).subspan(kRecordHeaderSize);
  if (message.front() != std::byte{kClientHello}) return 0;
  return client_hello_size(message).value_or(kHandshakeHeaderSize);
}

bool ClientHelloFragments::offers_resumption() const {
  WireReader in(bytes_);
  in.take(kRecordHeaderSize);
  if (in.u8() != kClientHello) return false;
  in.take(3 + 2 + kRandomSize);  // length, legacy_version, random
  in.take(in.u8());              // legacy_session_id
  in.take(in.u16());             // cipher_suites
  in.take(in.u8());              // legacy_compression_methods
  WireReader extensions(in.take(in.u16()));
  while (in.good() && extensions.good() && !extensions.at_end()) {
    if (extensions.u16() == kPreSharedKey) return true;
    extensions.take(extensions.u16());
  }
  return false;
}

std::optional<std::string_view> parse_server_name(std::span<const std::byte> body) {
  WireReader in(body);
  const std::size_t list = in.u16();
  const bool whole = list + 2 == body.size();
  const std::uint8_t type = in.u8();
  const std::string_view name = in.text();
  // A list of several names has had no meaning since RFC 6066, and no client sends one.
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
    const std::string_view protocol = as_text(in.take(in.u8()));
    if (!in.good() || protocol.empty()) return std::nullopt;
    protocols.push_back(protocol);
  }
  return protocols;
}

std::optional<std::uint16_t> parse_max_fragment_length(std::span<const std::byte> body) {
  WireReader in(body);
  const unsigned code = in.u8();
  if (!in.good() || !in.at_end() || code < 1 || code > 4) return std::nullopt;
  return static_cast<std::uint16_t>(256U << code);
}

bool names_version(std::span<const std::byte> body, std::uint16_t version) {
  WireReader in(body);
  const std::size_t list = in.u8();
  return list + 1 == body.size() && rest_has(in, version);
}

bool lists_code_point(std::span<const std::byte> body, std::uint16_t wanted) {
  WireReader in(body);
  const std::size_t list = in.u16();
  return list + 2 == body.size() && rest_has(in, wanted);
}

}  // namespace sallyport::ktls
