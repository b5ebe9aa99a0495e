#include "gateway/connection/proxy_header_reader.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <string>

#include "gateway/backends/proxy_header.h"
#include "gateway/policy/number.h"
#include "ktls/base/big_endian.h"
#include "ktls/base/wire.h"

namespace sallyport::gateway {
namespace {

constexpr std::string_view kTextSignature = "PROXY ";

// Of version 2, with the version in front.
constexpr unsigned kLocalCommand = 0x20, kProxyCommand = 0x21;
constexpr unsigned kUnspecFamily = 0, kIpv4Family = 1, kIpv6Family = 2, kUnixFamily = 3;
constexpr unsigned kStreamProtocol = 1, kDatagramProtocol = 2;

bool same_beginning(std::span<const std::byte> bytes, std::span<const std::byte> whole) {
  const std::size_t known = std::min(bytes.size(), whole.size());
  return std::ranges::equal(bytes.first(known), whole.first(known));
}

bool begins_text(std::span<const std::byte> bytes) {
  return same_beginning(bytes, std::as_bytes(std::span(kTextSignature)));
}

// The bytes of both addresses and ports.
std::size_t block_size(unsigned family) {
  if (family == kIpv4Family) return kProxyIpv4Size;
  if (family == kIpv6Family) return kProxyIpv6Size;
  return family == kUnixFamily ? 2 * 108 : 0;
}

iouring::SocketAddress socket_address(int family, std::span<const std::byte> ip,
                                      std::uint16_t port) {
  if (family == AF_INET) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&v4.sin_addr, ip.data(), sizeof v4.sin_addr);
    return {reinterpret_cast<const sockaddr*>(&v4), sizeof v4};
  }
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  std::memcpy(&v6.sin6_addr, ip.data(), sizeof v6.sin6_addr);
  return {reinterpret_cast<const sockaddr*>(&v6), sizeof v6};
}

// Of a line: the next word, of which one blank is taken as well.
std::string_view next_word(std::string_view& rest) {
  const std::size_t blank = rest.find(' ');
  const std::string_view word = rest.substr(0, blank);
  rest = blank == std::string_view::npos ? std::string_view() : rest.substr(blank + 1);
  return word;
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  if (text.size() > 1 && text.starts_with('0')) return std::nullopt;
  return parse_number<std::uint16_t>(text);
}

// inet_pton(3) takes no leading zeros either.
std::optional<iouring::SocketAddress> parse_end(int family, std::string_view ip,
                                                std::string_view port) {
  std::array<std::byte, sizeof(in6_addr)> bytes{};
  const std::optional<std::uint16_t> number = parse_port(port);
  if (!number || ip.find('\0') != std::string_view::npos ||
      ::inet_pton(family, std::string(ip).c_str(), bytes.data()) != 1)
    return std::nullopt;
  return socket_address(family, bytes, *number);
}

}  // namespace

ProxyHeaderReader::State ProxyHeaderReader::add(std::span<const std::byte>& bytes) {
  while (state_ == State::kPartial && !bytes.empty()) {
    take(bytes.front());
    bytes = bytes.subspan(1);
  }
  return state_;
}

void ProxyHeaderReader::take(std::byte next) {
  header_.push_back(next);
  if (begins_text(header_)) return take_text();
  if (same_beginning(header_, kProxySignature)) return take_binary();
  refuse("not a PROXY header");
}

void ProxyHeaderReader::take_text() {
  const std::string_view text = ktls::as_text(header_);
  if (text.size() < kTextSignature.size()) return;
  const bool newline = text.ends_with('\n');
  if (newline != (text[text.size() - 2] == '\r'))
    return refuse("a PROXY line without CR and LF at its end");
  if (newline) {
    const std::string_view line = text.substr(0, text.size() - 2);
    return parse_line(line.substr(kTextSignature.size()));
  }
  if (text.size() == kMaxText) refuse("a PROXY line of more than 107 bytes");
}

void ProxyHeaderReader::parse_line(std::string_view line) {
  const std::string_view protocol = next_word(line);
  state_ = State::kWhole;
  if (protocol == "UNKNOWN") return;  // whatever follows
  const int family = protocol == "TCP4" ? AF_INET : AF_INET6;
  if (family == AF_INET6 && protocol != "TCP6")
    return refuse("a PROXY line for another protocol than TCP4, TCP6 and UNKNOWN");
  const std::string_view source = next_word(line);
  const std::string_view destination = next_word(line);
  const std::string_view source_port = next_word(line);
  const auto from = parse_end(family, source, source_port);
  const auto to = parse_end(family, destination, line);  // and no blank behind it
  if (!from || !to) return refuse("a PROXY line without two addresses and two ports");
  addresses_ = {.source = *from, .destination = *to};
}

void ProxyHeaderReader::take_binary() {
  if (header_.size() < kProxyFixedSize) return;
  ktls::WireReader in(std::span(header_).subspan(kProxySignature.size()));
  const unsigned command = in.u8();
  const unsigned kind = in.u8();
  const unsigned family = kind >> 4U;
  const unsigned protocol = kind & 0xfU;
  const std::size_t size = kProxyFixedSize + in.u16();
  if (command != kLocalCommand && command != kProxyCommand)
    return refuse("a PROXY header of another version than 2, or of an unknown command");
  if (command == kProxyCommand && (family > kUnixFamily || protocol > kDatagramProtocol))
    return refuse("a PROXY header of an unknown family or protocol");
  if (size > kMaxBinary) return refuse("a PROXY header of more than 1024 bytes");
  if (header_.size() < size) return;

  // Of these all that follows may be anything, but for a checksum over it.
  const bool discarded = command == kLocalCommand || family == kUnspecFamily;
  const std::size_t addresses = block_size(family);
  state_ = State::kWhole;
  if (kProxyFixedSize + addresses > size) {
    if (!discarded) refuse("a PROXY header too short for its addresses");
    return;
  }
  check_tlvs(kProxyFixedSize + addresses, discarded);
  const bool over_ip = family == kIpv4Family || family == kIpv6Family;
  if (state_ == State::kInvalid || discarded || !over_ip || protocol != kStreamProtocol) return;
  const std::size_t ip = addresses / 2 - sizeof(in_port_t);
  const int domain = family == kIpv4Family ? AF_INET : AF_INET6;
  const auto source = in.take(ip);
  const auto destination = in.take(ip);
  const std::uint16_t source_port = in.u16();
  const std::uint16_t destination_port = in.u16();
  addresses_ = {.source = socket_address(domain, source, source_port),
                .destination = socket_address(domain, destination, destination_port)};
}

void ProxyHeaderReader::check_tlvs(std::size_t from, bool discarded) {
  bool summed = false;
  while (from < header_.size()) {
    ktls::WireReader in(std::span(header_).subspan(from));
    const std::uint8_t type = in.u8();
    const auto value = in.take(in.u16());
    if (!in.good()) {
      if (!discarded) refuse("a PROXY header whose TLVs do not end where it ends");
      return;
    }
    const std::size_t value_at = from + kProxyTlvHead;
    if (type == kProxyCrc32cType) {
      if (summed || value.size() != 4 ||
          ktls::from_big_endian(value) != proxy_checksum(header_, value_at))
        return refuse("a PROXY header with a wrong checksum");
      summed = true;
    }
    from = value_at + value.size();
  }
}

void ProxyHeaderReader::refuse(std::string_view why) {
  state_ = State::kInvalid;
  error_ = why;
}

bool begins_proxy_header(std::span<const std::byte> bytes) noexcept {
  return begins_text(bytes) || same_beginning(bytes, kProxySignature);
}

}  // namespace sallyport::gateway
