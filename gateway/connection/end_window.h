// The time within which a live connection ends whose ground has gone.
#pragma once

#include <algorithm>
#include <chrono>

namespace sallyport::gateway {

/// From now on; negative: already past. From `asks_in` on a quiet moment is looked for, at
/// `ends_in` the connection ends without one.
struct EndWindow {
  std::chrono::milliseconds asks_in{0};
  std::chrono::milliseconds ends_in{0};
};

namespace end_window_detail {
inline std::chrono::milliseconds part(std::chrono::milliseconds whole, double share) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(whole * share);
}
// Of a spread, for the quiet moment: the other part spreads the windows.
inline constexpr double kWindow = 0.25;
}  // namespace end_window_detail

/// For a change of the configuration, spread by `chance` (0 to 1) over `spread`: --end-spread.
[[nodiscard]] inline EndWindow window_of_change(std::chrono::milliseconds spread, double chance) {
  using namespace end_window_detail;
  const auto asks_in = part(spread, chance * (1 - kWindow));
  return {.asks_in = asks_in, .ends_in = asks_in + part(spread, kWindow)};
}

/// What --expiry-spread is for one connection.
struct ExpirySpread {
  std::chrono::milliseconds spread{0};         ///< of the flag
  std::chrono::milliseconds leaf_lifetime{0};  ///< a tenth of it at most
};

/// For a chain that expires in `left`: before that, never later. `age`: since the connection began.
/// One that began within its spread ends when the chain does, since a new one would end no later.
[[nodiscard]] inline EndWindow window_of_expiry(std::chrono::milliseconds left,
                                                const ExpirySpread& limits,
                                                std::chrono::milliseconds age, double chance) {
  using namespace end_window_detail;
  const auto spread = std::min(limits.spread, limits.leaf_lifetime / 10);
  if (left + age <= spread) return {.asks_in = left - part(left + age, kWindow), .ends_in = left};
  EndWindow window = window_of_change(spread, chance);
  window.asks_in += left - spread;
  window.ends_in += left - spread;
  return window;
}

}  // namespace sallyport::gateway
