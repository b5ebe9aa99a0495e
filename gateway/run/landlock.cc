#include "gateway/run/landlock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace sallyport::gateway {
namespace {

// linux/landlock.h of Debian 12 ends at version 2; these are of the kernel's interface.
enum : std::uint64_t {
  kExecuteFile = 1U << 0,
  kWriteFile = 1U << 1,
  kReadFile = 1U << 2,
  kReadDir = 1U << 3,
  kRemoveFile = 1U << 5,
  kMakeFile = 1U << 8,
  kMakeSocket = 1U << 9,
  kRefer = 1U << 13,        // since version 2
  kTruncate = 1U << 14,     // 3
  kDeviceIoctl = 1U << 15,  // 5
};
constexpr std::uint64_t kOfVersion1 = (1U << 13) - 1;
constexpr std::uint64_t kOfFiles = kExecuteFile | kWriteFile | kReadFile | kTruncate | kDeviceIoctl;
constexpr std::uint64_t kBindTcp = 1U << 0;          // 4
constexpr std::uint64_t kAbstractSockets = 1U << 0;  // 6
constexpr std::uint64_t kSignals = 1U << 1;          // 6

constexpr unsigned kAskVersion = 1U << 0;
enum RuleType : unsigned { kBeneathPath = 1, kPort = 2 };

struct Ruleset {
  std::uint64_t files = 0;
  std::uint64_t ports = 0;
  std::uint64_t scopes = 0;
};
struct [[gnu::packed]] BeneathPath {
  std::uint64_t allowed;
  std::int32_t place;
};
struct Port {
  std::uint64_t allowed;
  std::uint64_t port;
};

int create(const Ruleset* ruleset, std::size_t size, unsigned flags) {
  return static_cast<int>(::syscall(__NR_landlock_create_ruleset, ruleset, size, flags));
}

bool add(int ruleset, RuleType type, const void* rule) {
  return ::syscall(__NR_landlock_add_rule, ruleset, type, rule, 0) == 0;
}

std::uint64_t rights_of(Landlock::Access access) {
  constexpr std::uint64_t kRead = kReadFile | kReadDir;
  switch (access) {
    case Landlock::Access::kRead:
      return kRead;
    case Landlock::Access::kReplace:
      return kRead | kWriteFile | kTruncate | kMakeFile | kMakeSocket | kRemoveFile;
    case Landlock::Access::kExecute:
      return kRead | kExecuteFile;
  }
  std::abort();
}

Ruleset handled_by(int version, bool bind, bool abstract_sockets) {
  Ruleset handled{.files = kOfVersion1};
  if (version >= 2) handled.files |= kRefer;
  if (version >= 3) handled.files |= kTruncate;
  if (version >= 5) handled.files |= kDeviceIoctl;
  if (version >= 4 && bind) handled.ports = kBindTcp;
  if (version >= 6) handled.scopes = kSignals | (abstract_sockets ? 0 : kAbstractSockets);
  return handled;
}

// Kernels know as much of the structure as they know of the rights in it.
std::size_t size_in(int version) {
  if (version >= 6) return sizeof(Ruleset);
  return version >= 4 ? offsetof(Ruleset, scopes) : offsetof(Ruleset, ports);
}

std::unexpected<std::string> failed(const char* call) {
  return std::unexpected(std::string(call) + ": " + std::strerror(errno));
}

}  // namespace

void Landlock::allow(const std::filesystem::path& path, Access access) {
  iouring::FileDescriptor place(::open(path.c_str(), O_PATH | O_CLOEXEC));
  struct stat status{};
  if (!place || ::fstat(place.get(), &status) != 0) return;
  rules_.push_back(
      {.place = std::move(place), .is_directory = S_ISDIR(status.st_mode), .access = access});
}

std::expected<int, std::string> Landlock::restrict_self() const {
  int version = create(nullptr, 0, kAskVersion);
  if (version < 1) return 0;
  Ruleset handled;
  int created = -1;
  for (;; --version) {
    handled = handled_by(version, ports_.has_value(), abstract_sockets_);
    created = create(&handled, size_in(version), 0);
    // A distribution's kernel may name a version of which it has not everything.
    const bool knows_less = created < 0 && (errno == EINVAL || errno == E2BIG) && version > 1;
    if (!knows_less) break;
  }
  const iouring::FileDescriptor ruleset(created);
  if (!ruleset) return failed("landlock_create_ruleset");

  for (const Rule& each : rules_) {
    const std::uint64_t rights = rights_of(each.access) & handled.files;
    const BeneathPath rule{.allowed = each.is_directory ? rights : rights & kOfFiles,
                           .place = each.place.get()};
    if (!add(ruleset.get(), kBeneathPath, &rule)) return failed("landlock_add_rule");
  }
  if (handled.ports != 0) {
    for (const std::uint16_t port : *ports_) {
      const Port rule{.allowed = kBindTcp, .port = port};
      if (!add(ruleset.get(), kPort, &rule)) return failed("landlock_add_rule");
    }
  }
  if (::syscall(__NR_landlock_restrict_self, ruleset.get(), 0) != 0)
    return failed("landlock_restrict_self");
  return version;
}

}  // namespace sallyport::gateway
