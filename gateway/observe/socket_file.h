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
  ///
  /// With kTakeOver a process may listen there: the new socket then gets another name beside, and
  /// nothing comes to it before take_place().
  enum class InUse { kIsAnError, kTakeOver };
  [[nodiscard]] static std::expected<SocketFile, std::string> listen(
      int fd, const iouring::SocketAddress& at, const Access& access,
      InUse in_use = InUse::kIsAnError);

  /// Puts the file into the place asked for, at one moment: whoever connected before is with the
  /// process that listened there, whoever connects afterwards comes here. The error is the reason,
  /// and that process then goes on. Nothing to do where there was none.
  [[nodiscard]] std::expected<void, std::string> take_place();

  /// Its path, as asked for.
  [[nodiscard]] std::string place() const { return place_.to_string(); }

  SocketFile(SocketFile&& other) noexcept = default;
  SocketFile& operator=(SocketFile&&) = delete;
  ~SocketFile();

 private:
  SocketFile(const iouring::SocketAddress& at, iouring::FileDescriptor file, PathLock lock)
      : at_(at), place_(at), file_(std::move(file)), lock_(std::move(lock)) {}

  [[nodiscard]] bool is_there() const;

  iouring::SocketAddress at_;     // where the file is
  iouring::SocketAddress place_;  // where it was asked for
  std::optional<uid_t> owner_;    // see Access
  iouring::FileDescriptor file_;  // none: moved from
  // Between bind(2) and listen(2) a socket looks like one that was left behind: until then.
  std::optional<PathLock> lock_;
};

}  // namespace sallyport::gateway
