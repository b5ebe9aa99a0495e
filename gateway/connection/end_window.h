// The time within which a live connection ends whose ground has gone.
#pragma once

#include <chrono>

namespace sallyport::gateway {

/// From now on; negative: already past. From `asks_in` on a quiet moment is looked for, at
/// `ends_in` the connection ends without one.
struct EndWindow {
  std::chrono::milliseconds asks_in{0};
  std::chrono::milliseconds ends_in{0};
};

/// For a change of the configuration, spread by `chance` (0 to 1) over `spread`: --end-spread.
[[nodiscard]] EndWindow window_of_change(std::chrono::milliseconds spread, double chance);

/// What --expiry-spread is for one connection.
struct ExpirySpread {
  std::chrono::milliseconds spread{0};         ///< of the flag
  std::chrono::milliseconds leaf_lifetime{0};  ///< a tenth of it at most
};

/// For a chain that expires in `left`: before that, never later. `age`: since the connection began.
/// One that began within its spread ends when the chain does, since a new one would end no later.
[[nodiscard]] EndWindow window_of_expiry(std::chrono::milliseconds left, const ExpirySpread& limits,
                                         std::chrono::milliseconds age, double chance);

}  // namespace sallyport::gateway
