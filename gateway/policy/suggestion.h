// What a misspelt name may have been meant to be.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace sallyport::gateway {

/// The one of `known` that `word` is most like, the first of several: at most a third of its
/// characters are wrong, missing, too many or exchanged with their neighbour. Case does not count,
/// nor whether '-' or '_' stands between words; of less than four characters all must be right.
/// Nothing if none is so near, or `word` is one of them. Pure.
[[nodiscard]] std::optional<std::string_view> nearest(std::string_view word,
                                                      std::span<const std::string_view> known);

/// The same as the end of a message: "; did you mean 'allow'?", or empty.
[[nodiscard]] std::string did_you_mean(std::string_view word,
                                       std::span<const std::string_view> known);

}  // namespace sallyport::gateway
