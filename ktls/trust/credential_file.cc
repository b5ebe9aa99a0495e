#include "ktls/trust/credential_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

#include "iouring/file_descriptor.h"
#include "ktls/trust/key_file.h"

namespace sallyport::ktls {
namespace {

constexpr off_t kMaxFile = off_t{64} << 20;

std::string reason_of(int error) {
  char buffer[256];
  return strerror_r(error, buffer, sizeof buffer);  // the GNU one
}

// As which user: with --user it is not the one that started the program.
std::string why_not_opened(int error) {
  const std::string as = error == EACCES ? " by user " + user_name(::geteuid()) : "";
  return "cannot be opened" + as + ": " + reason_of(error);
}

}  // namespace

std::expected<std::unique_ptr<SecretText>, CredentialsError> read_file(const std::string& file,
                                                                       FileRules rules) {
  // O_NONBLOCK: a FIFO must be refused below, not waited for.
  const iouring::FileDescriptor fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return credentials_error(file, why_not_opened(errno));
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) return credentials_error(file, reason_of(errno));
  if (S_ISDIR(status.st_mode))
    return credentials_error(file, "is a directory, which is not supported by this version");
  if (!S_ISREG(status.st_mode)) return credentials_error(file, "is not a regular file");
  if (rules == FileRules::kSecret) {
    if (auto fault = key_file_fault(fd.get())) return credentials_error(file, *std::move(fault));
    if (auto fault = key_directory_fault(file)) return credentials_error(file, *std::move(fault));
  }
  if (status.st_size > kMaxFile) return credentials_error(file, "is larger than 64 MiB");

  auto text = std::make_unique<SecretText>(static_cast<std::size_t>(status.st_size));
  std::size_t have = 0;
  while (have < text->size()) {
    const ssize_t got = ::read(fd.get(), text->data() + have, text->size() - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return credentials_error(file, "cannot be read: " + reason_of(errno));
    if (got == 0) return credentials_error(file, "became shorter while it was read");
    have += static_cast<std::size_t>(got);
  }
  return text;
}

}  // namespace sallyport::ktls
