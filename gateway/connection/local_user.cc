#include "gateway/connection/local_user.h"

#include <sys/socket.h>

namespace sallyport::gateway {

std::string LocalUser::to_string() const {
  return std::to_string(user) + "/" + std::to_string(process);
}

std::optional<LocalUser> local_user(const iouring::Socket& socket) {
  int family = AF_UNSPEC;
  socklen_t size = sizeof family;
  if (::getsockopt(socket.descriptor(), SOL_SOCKET, SO_DOMAIN, &family, &size) != 0 ||
      family != AF_UNIX)
    return std::nullopt;
  ucred credentials{};
  size = sizeof credentials;
  if (::getsockopt(socket.descriptor(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0)
    return std::nullopt;
  return LocalUser{.user = credentials.uid, .process = credentials.pid};
}

}  // namespace sallyport::gateway
