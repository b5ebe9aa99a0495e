// The file of a unix socket that is listened on.
#pragma once

#include <sys/types.h>

#include <expected>
#include <optional>
#include <string>
#include <utility>

#include "gateway/observe/path_lock.h"
#include "iouring/address.h"
#include "iouring/file_descriptor.h"

namespace sallyport::gateway {

/// The file that bind(2) made, removed at the end of this unless another took its place. Holds a
/// descriptor of it, so that no later file gets its inode number.
class SocketFile {
 public:
  struct Access {
    mode_t mode = 0600;
    std::optional<uid_t> owner = {};  ///< none: ours
    std::optional<gid_t> group = {};
  };

  /// Binds the new unix socket `fd`, gives its file this access, and only then listens: what
  /// connects waits until somebody accepts. A file in its place is replaced if it is a socket of
  /// ours, or of `owner`, on which no process listens or is about to. The error is the reason. May
  /// wait half a second, for another process that starts or ends there.
  [[nodiscard]] static std::expected<SocketFile, std::string> listen(
      int fd, const iouring::SocketAddress& at, const Access& access);

  SocketFile(SocketFile&& other) noexcept = default;
  SocketFile& operator=(SocketFile&&) = delete;
  ~SocketFile();

 private:
  SocketFile(const iouring::SocketAddress& at, iouring::FileDescriptor file, PathLock lock)
      : address_(at), file_(std::move(file)), lock_(std::move(lock)) {}

  [[nodiscard]] bool is_in_place() const;

  iouring::SocketAddress address_;
  iouring::FileDescriptor file_;  // none: moved from
  // Between bind(2) and listen(2) a socket looks like one that was left behind: until then.
  std::optional<PathLock> lock_;
};

}  // namespace sallyport::gateway
