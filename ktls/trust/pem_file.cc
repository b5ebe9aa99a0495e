#include "ktls/trust/pem_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
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

std::unexpected<CredentialsError> error(const std::string& file, std::string what) {
  return std::unexpected(CredentialsError{file, std::nullopt, std::move(what)});
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

// What is wrong with the owner or mode of a file that holds a secret, or nothing.
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
  if (fd.get() < 0) return error(file, "cannot be opened: " + reason_of(errno));
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) return error(file, reason_of(errno));
  if (!S_ISREG(status.st_mode)) return error(file, "is not a regular file");
  if (rules == FileRules::kSecret) {
    if (auto broken = broken_rule(status)) return error(file, std::move(*broken));
  }
  if (status.st_size > kMaxFile) return error(file, "is larger than 64 MiB");

  auto text = std::make_unique<SecretText>(static_cast<std::size_t>(status.st_size));
  std::size_t have = 0;
  while (have < text->size()) {
    const ssize_t got = ::read(fd.get(), text->data() + have, text->size() - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return error(file, "cannot be read: " + reason_of(errno));
    if (got == 0) return error(file, "became shorter while it was read");
    have += static_cast<std::size_t>(got);
  }
  return text;
}

std::expected<std::vector<PemBlock>, CredentialsError> cut_pem(std::string_view text,
                                                               const std::string& file) {
  static constexpr std::string_view kBegin = "-----BEGIN ";
  static constexpr std::string_view kEnd = "-----END ";
  static constexpr std::string_view kDashes = "-----";

  std::vector<PemBlock> blocks;
  std::optional<PemBlock> open;
  std::size_t open_at = 0;
  unsigned line_number = 0;
  for (std::size_t at = 0; at < text.size();) {
    ++line_number;
    const std::size_t newline = text.find('\n', at);
    const std::size_t next = newline == std::string_view::npos ? text.size() : newline + 1;
    std::string_view line = text.substr(at, next - at);
    while (!line.empty() && (line.back() == '\n' || line.back() == '\r' || line.back() == ' '))
      line.remove_suffix(1);

    const bool marker = line.ends_with(kDashes) && line.size() > kDashes.size();
    if (marker && line.starts_with(kBegin)) {
      if (open)
        return std::unexpected(
            CredentialsError{file, open->line, "PEM block without its END line"});
      const std::string_view label =
          line.substr(kBegin.size(), line.size() - kBegin.size() - kDashes.size());
      open = PemBlock{label, {}, line_number};
      open_at = at;
    } else if (marker && line.starts_with(kEnd) && open) {
      const std::string_view label =
          line.substr(kEnd.size(), line.size() - kEnd.size() - kDashes.size());
      if (label != open->label)
        return std::unexpected(
            CredentialsError{file, line_number, "PEM block ends as another kind than it began"});
      open->text = text.substr(open_at, next - open_at);
      blocks.push_back(*open);
      open.reset();
    }
    at = next;
  }
  if (open)
    return std::unexpected(CredentialsError{file, open->line, "PEM block without its END line"});
  return blocks;
}

}  // namespace sallyport::ktls
