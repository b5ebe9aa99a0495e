#include "gateway/policy/host_name.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>

namespace sallyport::gateway {
namespace {

bool is_address(int family, std::string_view text) {
  std::array<char, INET6_ADDRSTRLEN> terminated{};
  std::array<unsigned char, 16> address;
  if (text.empty() || text.size() >= terminated.size()) return false;
  if (text.find('\0') != std::string_view::npos) return false;
  std::ranges::copy(text, terminated.begin());
  return inet_pton(family, terminated.data(), address.data()) == 1;
}

}  // namespace

bool is_host_label(std::string_view label, Underscore underscore) {
  if (label.empty() || label.size() > 63) return false;
  return std::ranges::all_of(label, [&](char c) {
    return ktls::is_ascii_letter(c) || ktls::is_ascii_digit(c) || c == '-' ||
           (c == '_' && underscore == Underscore::kAllowed);
  });
}

bool is_host_name(std::string_view name, Underscore underscore) {
  if (name.size() > 253) return false;
  while (true) {
    const std::size_t dot = name.find('.');
    if (!is_host_label(name.substr(0, dot), underscore)) return false;
    if (dot == std::string_view::npos) return true;
    name.remove_prefix(dot + 1);
  }
}

bool is_route_name(std::string_view name) {
  return !name.empty() && name.size() <= 255 && std::ranges::none_of(name, [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
  });
}

bool is_ip_literal(std::string_view text) {
  if (text.empty()) return false;
  if (text.find(':') != std::string_view::npos) {
    if (text.starts_with('[') && text.ends_with(']')) text = text.substr(1, text.size() - 2);
    return is_address(AF_INET6, text);
  }
  const bool may_be_ipv4 = ktls::is_ascii_digit(text.back());
  return may_be_ipv4 && is_address(AF_INET, text);
}

}  // namespace sallyport::gateway
