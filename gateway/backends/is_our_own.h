#pragma once

#include <cerrno>

namespace sallyport::gateway {

/// Errors of socket(2) and of our own memory: no endpoint is to blame, and none will do better.
[[nodiscard]] constexpr bool is_our_own(int error) {
  return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

}  // namespace sallyport::gateway
