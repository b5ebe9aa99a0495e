#pragma once
// Options of an ordinary socket, for tests (getsockopt(2), setsockopt(2)).
#include <sys/socket.h>

#include <cerrno>

#include "iouring/result.h"
#include "iouring/socket.h"

namespace sallyport::iouring {

[[nodiscard]] inline Result<int> get_option(const Socket& socket, int level, int name) {
  int value = 0;
  socklen_t size = sizeof value;
  if (::getsockopt(socket.descriptor(), level, name, &value, &size) != 0) return failure(errno);
  return value;
}

[[nodiscard]] inline Result<> set_option(const Socket& socket, int level, int name, int value) {
  if (::setsockopt(socket.descriptor(), level, name, &value, sizeof value) != 0)
    return failure(errno);
  return {};
}

}  // namespace sallyport::iouring
