#include "ktls/trust/credential_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "iouring/file_descriptor.h"
#include "ktls/trust/key_file.h"

namespace sallyport::ktls {
namespace {

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
                                                                       FileRules rules,
                                                                       std::size_t most_mib,
                                                                       struct stat* read) {
  // O_NONBLOCK: a FIFO must be refused below, not waited for.
  const iouring::FileDescriptor fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return credentials_error(file, why_not_opened(errno));
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) return credentials_error(file, reason_of(errno));
  if (S_ISDIR(status.st_mode)) return credentials_error(file, "is a directory");
  if (!S_ISREG(status.st_mode)) return credentials_error(file, "is not a regular file");
  if (rules == FileRules::kSecret) {
    if (auto fault = key_file_fault(fd.get())) return credentials_error(file, *std::move(fault));
    if (auto fault = key_directory_fault(file)) return credentials_error(file, *std::move(fault));
  }
  if (std::cmp_greater(status.st_size, most_mib << 20))
    return credentials_error(file, "is larger than " + std::to_string(most_mib) + " MiB");

  auto text = std::make_unique<SecretText>(static_cast<std::size_t>(status.st_size));
  std::size_t have = 0;
  while (have < text->size()) {
    const ssize_t got = ::read(fd.get(), text->data() + have, text->size() - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return credentials_error(file, "cannot be read: " + reason_of(errno));
    if (got == 0) return credentials_error(file, "became shorter while it was read");
    have += static_cast<std::size_t>(got);
  }
  if (read != nullptr) *read = status;
  return text;
}

std::expected<std::vector<std::string>, CredentialsError> files_of(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) return std::vector<std::string>{path};
  constexpr std::array<std::string_view, 3> kEndings{".pem", ".crt", ".crl"};
  std::vector<std::string> files;
  for (std::filesystem::directory_iterator entry(path, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename();
    const auto ends = [&](std::string_view ending) { return name.ends_with(ending); };
    if (!name.starts_with('.') && std::ranges::any_of(kEndings, ends))
      files.push_back(entry->path());
  }
  if (error) return credentials_error(path, "cannot be read: " + error.message());
  if (files.empty()) return credentials_error(path, "holds no *.pem, *.crt or *.crl file");
  std::ranges::sort(files);
  return files;
}

}  // namespace sallyport::ktls
