#pragma once

#include <cstddef>
#include <functional>
#include <string_view>

namespace sallyport::gateway {

/// For maps by std::string that are looked into by std::string_view: with std::equal_to<>, no
/// string is made for the look-up.
struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const {
    return std::hash<std::string_view>{}(text);
  }
};

}  // namespace sallyport::gateway
