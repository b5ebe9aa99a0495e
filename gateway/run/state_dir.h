// The directory of --state-dir: what is to outlive the process.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <utility>

#include "iouring/file_descriptor.h"

namespace sallyport::gateway {

/// Files that are replaced as a whole: each is the old one or the new one, whatever happens in
/// between. They say where traffic goes, so nobody else may write them. All calls block on the
/// disk. Any thread; two processes may have the same directory.
class StateDir {
 public:
  /// The error says what is wrong with the directory: it must be there, belong to root or this
  /// user, and be for its owner alone.
  [[nodiscard]] static std::expected<StateDir, std::string> open(const std::string& path);

  [[nodiscard]] std::string path_of(const std::string& name) const { return path_ + "/" + name; }

  /// Nothing where there is no such file. The error names the file, to which the rules of key files
  /// apply.
  [[nodiscard]] std::expected<std::optional<std::string>, std::string> read(
      const std::string& name) const;

  /// Returns once the disk has it. The error names the file, whose old content is then still there.
  [[nodiscard]] std::expected<void, std::string> replace(const std::string& name,
                                                         const std::string& text) const;

 private:
  StateDir(std::string path, iouring::FileDescriptor directory)
      : path_(std::move(path)), directory_(std::move(directory)) {}

  std::string path_;
  iouring::FileDescriptor directory_;
};

}  // namespace sallyport::gateway
