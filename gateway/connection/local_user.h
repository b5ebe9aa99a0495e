// Who an application of this machine is, as the kernel says.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "iouring/socket.h"

namespace sallyport::gateway {

/// What connected to a unix socket, at that moment (SO_PEERCRED, unix(7)).
struct LocalUser {
  uid_t user = 0;
  pid_t process = 0;  ///< 0: of another PID namespace

  /// "UID/PID"
  [[nodiscard]] std::string to_string() const;
};

/// None where `socket` is no unix socket: the kernel does not say it of TCP.
[[nodiscard]] std::optional<LocalUser> local_user(const iouring::Socket& socket);

}  // namespace sallyport::gateway
