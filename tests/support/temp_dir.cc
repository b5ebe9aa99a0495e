#include "tests/support/temp_dir.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <system_error>

namespace sallyport::test {
namespace {

[[noreturn]] void fail(const char* what, const std::string& path) {
  std::fprintf(stderr, "TempDir: %s %s: %s\n", what, path.c_str(), std::strerror(errno));
  std::abort();
}

}  // namespace

TempDir::TempDir() {
  std::string pattern = std::filesystem::temp_directory_path() / "sallyport-test-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) fail("mkdtemp", pattern);
  path_ = pattern;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::filesystem::path TempDir::write(std::string_view name, std::string_view content,
                                     unsigned mode) const {
  std::filesystem::path target = path_ / name;
  const int fd = ::open(target.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  if (fd < 0) fail("open", target);
  if (::fchmod(fd, mode) != 0) fail("fchmod", target);  // whatever the umask was
  while (!content.empty()) {
    const ssize_t written = ::write(fd, content.data(), content.size());
    if (written < 0) fail("write", target);
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  ::close(fd);
  return target;
}

std::filesystem::path TempDir::replace(std::string_view name, std::string_view content,
                                       unsigned mode) const {
  const std::filesystem::path target = path_ / name;
  const std::filesystem::path beside = write(std::string(name) + ".new", content, mode);
  if (::rename(beside.c_str(), target.c_str()) != 0) fail("rename", target);
  return target;
}

}  // namespace sallyport::test
