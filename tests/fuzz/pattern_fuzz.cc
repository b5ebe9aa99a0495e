// Identity patterns. Three lines: two patterns and an identity. What covers a pattern must match
// all that the pattern matches.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "gateway/policy/pattern.h"

namespace {

using sallyport::gateway::IdentityPattern;

void require(bool holds) {
  if (!holds) std::abort();
}

bool matches(const IdentityPattern& pattern, std::string_view identity) {
  return pattern.matches_spiffe(identity) || pattern.matches_dns(identity);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  std::array<std::string_view, 3> lines;
  for (std::string_view& line : lines) {
    const std::size_t end = rest.find('\n');
    line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  }
  const auto wide = IdentityPattern::parse(lines[0]);
  const auto narrow = IdentityPattern::parse(lines[1]);
  for (const auto* pattern : {&wide, &narrow}) {
    if (!*pattern) {
      require(!pattern->error().empty());
      continue;
    }
    const auto again = IdentityPattern::parse((*pattern)->text());
    require(again && again->text() == (*pattern)->text());
    require((*pattern)->covers(*again) && again->covers(**pattern));
    require(matches(**pattern, lines[2]) == matches(*again, lines[2]));
    // A pattern without wildcard is the identity that it matches.
    std::string_view itself = (*pattern)->text();
    if (itself.starts_with("dns:")) itself.remove_prefix(4);
    require(matches(**pattern, itself) == !(*pattern)->has_wildcard() ||
            itself.starts_with("spiffe"));
  }
  if (wide && narrow && wide->covers(*narrow)) {
    require(!matches(*narrow, lines[2]) || matches(*wide, lines[2]));
  }
  return 0;
}
