#include "gateway/policy/route.h"

#include <algorithm>
#include <array>

#include "gateway/policy/host_name.h"

namespace sallyport::gateway {
namespace {

// A DNS name has at most 253 bytes, and one dot may follow.
constexpr std::size_t kMaxSniBytes = 254;

using NameBuffer = std::array<char, kMaxSniBytes>;

std::string_view normalise(std::string_view sni, NameBuffer& buffer) {
  if (sni.ends_with('.')) sni.remove_suffix(1);
  std::ranges::transform(sni, buffer.begin(), [](char c) { return ascii_lower(c); });
  const std::string_view name(buffer.data(), sni.size());
  return is_ip_literal(name) ? std::string_view() : name;
}

// The best level that knows the name; nullptr: none.
const Policy::Candidates* best_level(const Policy& policy, std::string_view name) {
  if (!name.empty()) {
    if (const auto* exact = policy.exact(name)) return exact;
    const std::size_t dot = name.find('.');
    if (dot != std::string_view::npos && dot > 0) {
      if (const auto* wildcard = policy.wildcard(name.substr(dot + 1))) return wildcard;
    }
  }
  const Policy::Candidates& rest = policy.without_sni();
  return rest.empty() ? nullptr : &rest;
}

}  // namespace

std::expected<Choice, ktls::HandshakeResult> choose(const Policy& policy, std::string_view sni,
                                                    std::span<const std::string_view> alpn_offers) {
  if (sni.size() > kMaxSniBytes) return std::unexpected(ktls::HandshakeResult::kNoRoute);
  NameBuffer buffer;
  const Policy::Candidates* level = best_level(policy, normalise(sni, buffer));
  if (!level) return std::unexpected(ktls::HandshakeResult::kNoRoute);

  for (const Route* route : level->with_alpn) {
    for (const std::string& protocol : route->alpn) {
      if (std::ranges::find(alpn_offers, std::string_view(protocol)) != alpn_offers.end()) {
        return Choice{route, protocol};
      }
    }
  }
  if (alpn_offers.empty() && level->without_offer) return Choice{level->without_offer, {}};
  if (!level->without_alpn) return std::unexpected(ktls::HandshakeResult::kNoApplicationProtocol);
  return Choice{level->without_alpn, {}};
}

}  // namespace sallyport::gateway
