#include "iouring/file_descriptor.h"

#include <unistd.h>

namespace sallyport::iouring {

void FileDescriptor::close() noexcept {
  // Linux frees the descriptor even when close(2) reports an error, so it is never retried.
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

}  // namespace sallyport::iouring
