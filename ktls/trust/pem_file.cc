#include "ktls/trust/pem_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <utility>

#include "ktls/base/ascii.h"

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

// ---- PEM

constexpr std::string_view kDashes = "-----";

std::unexpected<CredentialsError> bad_line(const std::string& file, unsigned line,
                                           std::string what) {
  return std::unexpected(CredentialsError{file, line, std::move(what)});
}

unsigned line_of(std::string_view text, std::size_t at) {
  unsigned line = 1;
  for (std::size_t i = 0; i < at; ++i) {
    const bool crlf = text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n';
    if (text[i] == '\n' || (text[i] == '\r' && !crlf)) ++line;
  }
  return line;
}

// -----BEGIN label----- or -----END label-----, on one line.
struct Marker {
  std::size_t from = 0, to = 0;
  bool end = false;
  std::string_view label;
};

std::optional<Marker> next_marker(std::string_view text, std::size_t at) {
  for (; (at = text.find(kDashes, at)) != std::string_view::npos; ++at) {
    const std::string_view rest = text.substr(at + kDashes.size());
    const bool end = rest.starts_with("END ");
    if (!end && !rest.starts_with("BEGIN ")) continue;
    const std::size_t word = end ? 4 : 6;
    const std::size_t close = rest.find(kDashes, word);
    const std::string_view label = rest.substr(word, close - word);
    if (close == std::string_view::npos || label.empty() ||
        label.find_first_of("\r\n-") != std::string_view::npos)
      continue;
    return Marker{
        .from = at, .to = at + kDashes.size() + close + kDashes.size(), .end = end, .label = label};
  }
  return std::nullopt;
}

// Where BEGIN or END, in any case, stands beside dashes.
std::optional<std::size_t> stray_marker(std::string_view text) {
  const auto lower = [](char c) { return ascii_lower(c); };
  for (std::size_t at = 0; (at = text.find("--", at)) != std::string_view::npos; ++at) {
    const std::size_t word = text.find_first_not_of("- \t", at);
    if (word == std::string_view::npos) return std::nullopt;
    for (const std::string_view wanted : {"begin", "end"}) {
      const std::string_view found = text.substr(word, wanted.size());
      const char after = word + wanted.size() < text.size() ? text[word + wanted.size()] : ' ';
      if (std::ranges::equal(found, wanted, {}, lower) && (after == ' ' || after == '\t'))
        return at;
    }
  }
  return std::nullopt;
}

std::unique_ptr<SecretText> canonical(std::string_view label, std::string_view body) {
  // Room for the markers, and for a line end that the last line may lack.
  auto text = std::make_unique<SecretText>(body.size() + 2 * label.size() + 40);
  char* out = text->data();
  const auto write = [&out](std::string_view part) { out = std::ranges::copy(part, out).out; };
  write("-----BEGIN ");
  write(label);
  write("-----\n");
  while (!body.empty()) {
    const std::size_t end = std::min(body.find_first_of("\r\n"), body.size());
    std::string_view line = body.substr(0, end);
    body.remove_prefix(std::min(end + 1, body.size()));
    const std::size_t first = line.find_first_not_of(" \t");
    if (first == std::string_view::npos) continue;
    write(line.substr(first, line.find_last_not_of(" \t") - first + 1));
    write("\n");
  }
  write("-----END ");
  write(label);
  write("-----\n");
  text->shrink(static_cast<std::size_t>(out - text->data()));
  return text;
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
  if (const std::size_t nul = text.find('\0'); nul != std::string_view::npos)
    return bad_line(file, line_of(text, nul), "holds a NUL byte: not PEM, or in UTF-16");

  std::vector<PemBlock> blocks;
  std::size_t at = 0;
  for (;;) {
    const std::optional<Marker> begin = next_marker(text, at);
    const std::string_view between =
        text.substr(at, begin ? begin->from - at : std::string_view::npos);
    if (const auto stray = stray_marker(between))
      return bad_line(file, line_of(text, at + *stray),
                      "looks like the beginning or the end of a PEM block and is none");
    if (!begin) return blocks;
    const unsigned line = line_of(text, begin->from);
    if (begin->end) return bad_line(file, line, "PEM block without its BEGIN line");

    const std::optional<Marker> end = next_marker(text, begin->to);
    if (!end || !end->end) return bad_line(file, line, "PEM block without its END line");
    if (end->label != begin->label)
      return bad_line(file, line_of(text, end->from),
                      "PEM block ends as another kind than it began");
    blocks.push_back(
        {.label = std::string(begin->label),
         .text = canonical(begin->label, text.substr(begin->to, end->from - begin->to)),
         .line = line});
    at = end->to;
  }
}

}  // namespace sallyport::ktls
