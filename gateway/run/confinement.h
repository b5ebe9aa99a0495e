// What a process gives up before it meets its first client.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <expected>
#include <filesystem>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gateway/run/landlock.h"
#include "gateway/run/options.h"
#include "iouring/file_descriptor.h"

namespace sallyport::gateway {

/// The directories that are open to this process, and nothing beside them.
///
/// Of a file it is the directory, so that the file may be replaced in it; where the name leads
/// through symbolic links, that of the file which it leads to, too, and that of each link which
/// leads to a place beneath it: such a link may be turned to another place there. The root
/// directory is never one of them: a file there is open by itself.
class Confinement {
 public:
  /// Adds what a process with these flags needs beside the files that it is configured by: system
  /// libraries, names and addresses, what it keeps, its sockets.
  explicit Confinement(const Options& options);

  /// A file or directory that is read, now and again. One that is not there stands for the next
  /// directory above that is.
  void allow_reading(const std::filesystem::path& source);

  /// In force for the calling thread and those that it starts: before any other thread is there.
  /// Nothing is allowed afterwards. Returns the version of Landlock, 0 for a kernel without, whose
  /// processes are not confined to directories. The error says what cannot be: a socket or
  /// --state-dir in the root directory, another thread, or a call that failed.
  [[nodiscard]] std::expected<int, std::string> enter();

  /// Whether a file of this name, where it leads to now, can be opened as far as enter() decided.
  [[nodiscard]] bool covers(const std::filesystem::path& file) const;
  /// Of directories and single files that are open.
  [[nodiscard]] std::size_t places() const { return places_.size(); }

 private:
  void allow(const std::filesystem::path& place, Landlock::Access access = Landlock::Access::kRead);
  void allow_system();
  void allow_proc();
  void allow_sockets(const Options& options);

  Landlock landlock_;
  std::set<std::pair<dev_t, ino_t>> places_;
  std::vector<iouring::FileDescriptor> proc_;  // held open: see allow_proc()
  std::string refused_;
  bool entered_ = false;
};

}  // namespace sallyport::gateway
