#pragma once
// The descriptors of the test process: how many are open, and a limit on them.
#include <fcntl.h>
#include <sys/resource.h>

#include <cstddef>
#include <filesystem>
#include <iterator>

#include "iouring/file_descriptor.h"

namespace sallyport::iouring {

[[nodiscard]] inline std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

/// Lets the process open `more` descriptors, until lift() or destruction.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(unsigned more) {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const FileDescriptor lowest(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    struct rlimit limit = before_;
    limit.rlim_cur = static_cast<rlim_t>(lowest.get()) + more;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
  DescriptorLimit(const DescriptorLimit&) = delete;
  DescriptorLimit& operator=(const DescriptorLimit&) = delete;
  ~DescriptorLimit() { lift(); }
  void lift() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  struct rlimit before_ = {};
};

}  // namespace sallyport::iouring
