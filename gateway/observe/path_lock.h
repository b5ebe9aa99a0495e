// One process at a time decides over a path.
#pragma once

#include <chrono>
#include <expected>
#include <filesystem>
#include <string>
#include <utility>

#include "iouring/file_descriptor.h"

namespace sallyport::gateway {

/// A lock (flock(2)) of a file beside the path, ".NAME.sallyport-lock", which only our user may
/// open and which is removed at the end of this. The kernel gives the lock back where a process was
/// killed; the file then stays until the next one has used it.
class PathLock {
 public:
  /// Waits for `patience` at most while another has it. The error is the reason.
  [[nodiscard]] static std::expected<PathLock, std::string> take(
      const std::filesystem::path& path, std::chrono::milliseconds patience);

  PathLock(PathLock&& other) noexcept = default;
  PathLock& operator=(PathLock&&) = delete;
  ~PathLock();

 private:
  PathLock(std::filesystem::path file, iouring::FileDescriptor locked)
      : file_(std::move(file)), locked_(std::move(locked)) {}

  std::filesystem::path file_;
  iouring::FileDescriptor locked_;  // none: moved from
};

}  // namespace sallyport::gateway
