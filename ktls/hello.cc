#include "ktls/hello.h"

#include "ktls/wire.h"

namespace sallyport::ktls {
namespace {

constexpr std::uint8_t kHostName = 0;
constexpr std::size_t kMaxHostName = 255;

std::string_view text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

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
