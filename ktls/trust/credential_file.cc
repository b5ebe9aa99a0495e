#include "ktls/trust/credential_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <optional>
#include <utility>

namespace sallyport::ktls {
namespace {

constexpr off_t kMaxFile = off_t{64} << 20;

std::string reason_of(int error) {
  char buffer[256];
  return strerror_r(error, buffer, sizeof buffer);  // the GNU one
}

class Descriptor {
 public:
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const noexcept { return fd_; }

 private:
  int fd_;
};

// The rule that owner or mode of a secret's file break, or nothing.
std::optional<std::string> broken_rule(const struct stat& status) {
  if (status.st_uid != 0 && status.st_uid != ::geteuid())
    return "belongs to user " + std::to_string(status.st_uid) +
           ", who is neither root nor the user of this process";
  if ((status.st_mode & 077) != 0) {
    char mode[8];
    std::snprintf(mode, sizeof mode, "%04o", static_cast<unsigned>(status.st_mode & 07777));
    return std::string("mode ") + mode + " lets others than its owner use it (chmod 600)";
  }
  return std::nullopt;
}

}  // namespace

std::expected<std::unique_ptr<SecretText>, CredentialsError> read_file(const std::string& file,
                                                                       FileRules rules) {
  // O_NONBLOCK: a FIFO must be refused below, not waited for.
  const Descriptor fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) return credentials_error(file, "cannot be opened: " + reason_of(errno));
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) return credentials_error(file, reason_of(errno));
  if (!S_ISREG(status.st_mode)) return credentials_error(file, "is not a regular file");
  if (rules == FileRules::kSecret) {
    if (auto broken = broken_rule(status)) return credentials_error(file, std::move(*broken));
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
