// Policy files: whatever the bytes, a refusal that can be printed, or routes that choose() finds.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/policy/policy.h"
#include "gateway/policy/route.h"

namespace {

using namespace sallyport::gateway;

void require(bool holds) {
  if (!holds) std::abort();
}

// A client that asks for a name of the route and offers its protocols gets this route, or one that
// was written before it and shares a protocol.
void check_reachable(const Policy& policy, const Route& route) {
  const std::vector<std::string_view> offers(route.alpn.begin(), route.alpn.end());
  for (const std::string& name : route.sni) {
    const bool wildcard = name.starts_with("*.");
    const std::string asked = wildcard ? "Any-1" + name.substr(1) : name + ".";
    const auto choice = choose(policy, asked, offers);
    if (asked.size() > 254) continue;
    require(choice.has_value() || wildcard);
    if (!wildcard) require(choice->route == &route || choice->route < &route);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto policy = parse_policy(text, "p.json");
  if (!policy) {
    require(!policy.error().what.empty());
    for (const char c : policy.error().to_string()) {
      require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7F);
    }
    return 0;
  }
  require(!(*policy)->routes().empty());
  for (const Route& route : (*policy)->routes()) {
    require(route.allow.empty() == route.allow_any_verified);
    require((*policy)->find(route.name) == &route);
    check_reachable(**policy, route);
    const std::string_view offers[] = {text.substr(0, 255)};
    const auto choice = choose(**policy, text, offers);
    if (choice) require(choice->route != nullptr);
  }
  return 0;
}
