#include "iouring/file_descriptor.h"

#include <unistd.h>

namespace sallyport::iouring {

void FileDescriptor::close() noexcept {
  // Linux frees the number even when close(2) reports an error, so there is nothing to retry.
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

}  // namespace sallyport::iouring
