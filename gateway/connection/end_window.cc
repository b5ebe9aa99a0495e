#include "gateway/connection/end_window.h"

#include <algorithm>

namespace sallyport::gateway {
namespace {

using std::chrono::milliseconds;

// Of a spread, for the quiet moment: the other part spreads the windows.
constexpr double kWindow = 0.25;

milliseconds part(milliseconds whole, double share) {
  return std::chrono::duration_cast<milliseconds>(whole * share);
}

}  // namespace

EndWindow window_of_change(milliseconds spread, double chance) {
  const auto asks_in = part(spread, chance * (1 - kWindow));
  return {.asks_in = asks_in, .ends_in = asks_in + part(spread, kWindow)};
}

EndWindow window_of_expiry(milliseconds left, const ExpirySpread& limits, milliseconds age,
                           double chance) {
  const auto spread = std::min(limits.spread, limits.leaf_lifetime / 10);
  if (left + age <= spread) return {.asks_in = left - part(left + age, kWindow), .ends_in = left};
  EndWindow window = window_of_change(spread, chance);
  window.asks_in += left - spread;
  window.ends_in += left - spread;
  return window;
}

}  // namespace sallyport::gateway
