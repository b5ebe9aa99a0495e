#pragma once

#include <cerrno>

namespace sallyport::gateway {

/// Errors of socket(2) and of our own memory: no endpoint is to blame, and none will do better.
[[nodiscard]] constexpr bool is_our_own(int error) {
  return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

/// Besides those: no local port is left for this one address. It is not to blame, and others may do
/// better.
[[nodiscard]] constexpr bool is_local(int error) {
  return is_our_own(error) || error == EADDRNOTAVAIL;
}

}  // namespace sallyport::gateway
