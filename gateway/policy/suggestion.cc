#include "gateway/policy/suggestion.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>
#include <vector>

#include "ktls/base/ascii.h"

namespace sallyport::gateway {
namespace {

// No name of ours is so long; what is longer is no misspelling of one.
constexpr std::size_t kLongestName = 64;
// One letter makes another word of what is shorter: "1.1" is no misspelt "1.2".
constexpr std::size_t kShortestName = 4;

std::string folded(std::string_view name) {
  std::string result = ktls::ascii_lower(name);
  std::ranges::replace(result, '-', '_');
  return result;
}

// How many characters are to be inserted, removed, replaced or exchanged with the next one to make
// `b` of `a` (optimal string alignment).
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1);
  std::vector<std::size_t> last(b.size() + 1);
  std::vector<std::size_t> next(b.size() + 1);
  std::iota(last.begin(), last.end(), 0U);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    next[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      next[j] = std::min({replaced, last[j] + 1, next[j - 1] + 1});
      const bool exchanged = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (exchanged) next[j] = std::min(next[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, next);
  }
  return last[b.size()];
}

}  // namespace

std::optional<std::string_view> nearest(std::string_view word,
                                        std::span<const std::string_view> known) {
  if (word.size() > kLongestName || std::ranges::find(known, word) != known.end())
    return std::nullopt;
  const std::string mine = folded(word);
  std::optional<std::string_view> best;
  std::size_t least = kLongestName;
  for (const std::string_view name : known) {
    const std::size_t shorter = std::min(mine.size(), name.size());
    const std::size_t limit = shorter < kShortestName ? 0 : shorter / 3;
    const std::size_t wrong = distance(mine, folded(name));
    if (wrong > limit || wrong >= least) continue;
    best = name;
    least = wrong;
  }
  return best;
}

std::string did_you_mean(std::string_view word, std::span<const std::string_view> known) {
  const auto found = nearest(word, known);
  return found ? "; did you mean '" + std::string(*found) + "'?" : "";
}

}  // namespace sallyport::gateway
