// Landlock (landlock(7)): which files a thread, and those that it starts, may open from now on.
#pragma once

#include <cstdint>
#include <expected>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "iouring/file_descriptor.h"

namespace sallyport::gateway {

/// Rules on their way to be in force; what a thread has given up it never gets back. Nothing is
/// restricted that the kernel's Landlock does not know. One thread.
class Landlock {
 public:
  enum class Access {
    kRead,     ///< files and lists of directories
    kReplace,  ///< that, and writing, making, renaming and removing files, and binding unix sockets
    kExecute,  ///< kRead, and programs
  };

  /// Allows this beneath a directory, or to one file, as it is now: another one of the same name is
  /// not meant. What cannot be opened is left out.
  void allow(const std::filesystem::path& path, Access access);
  /// TCP ports that can still be bound; without a call any can.
  void allow_bind(std::set<std::uint16_t> ports) { ports_ = std::move(ports); }
  /// Connections to abstract unix sockets of other processes, which are else refused.
  void allow_abstract_sockets() { abstract_sockets_ = true; }

  /// In force for the calling thread, which must have given up new privileges
  /// (PR_SET_NO_NEW_PRIVS). Returns the version of Landlock that was used: 0 where the kernel has
  /// none, or a seccomp filter hides it. The error names the call that failed.
  [[nodiscard]] std::expected<int, std::string> restrict_self() const;

 private:
  struct Rule {
    iouring::FileDescriptor place;
    bool is_directory;
    Access access;
  };
  std::vector<Rule> rules_;
  std::optional<std::set<std::uint16_t>> ports_;
  bool abstract_sockets_ = false;
};

}  // namespace sallyport::gateway
