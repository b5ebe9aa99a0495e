#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace sallyport::test {

/// A directory of its own under the system's temporary directory, removed with its content when
/// the object dies. Failures abort the test program: nothing sensible can follow.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

  /// Writes `content` in place (truncate, then write) with `mode`, and returns the full path.
  std::filesystem::path write(std::string_view name, std::string_view content,
                              unsigned mode = 0644) const;
  /// Writes a key: mode 0600.
  std::filesystem::path write_secret(std::string_view name, std::string_view content) const {
    return write(name, content, 0600);
  }
  /// Writes beside `name` and renames over it, as careful editors and certificate agents do.
  std::filesystem::path replace(std::string_view name, std::string_view content,
                                unsigned mode = 0644) const;

 private:
  std::filesystem::path path_;
};

}  // namespace sallyport::test
