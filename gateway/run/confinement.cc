#include "gateway/run/confinement.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <optional>
#include <string_view>
#include <system_error>

#include "iouring/address.h"
#include "iouring/sanitizers.h"

namespace sallyport::gateway {
namespace {

namespace fs = std::filesystem;
using Access = Landlock::Access;

constexpr int kMostLinks = 40;  // as path_resolution(7)

// The report of a sanitizer has names of functions, which a program of its own looks up.
using iouring::kSanitized;

bool is_beneath(const fs::path& path, const fs::path& directory) {
  const auto [end, unused] = std::ranges::mismatch(directory, path);
  return end == directory.end();
}

// Directories that a name is looked up in, so that it leads there.
struct Way {
  std::vector<fs::path> directories;
  fs::path end;  // where it leads to; the first part that is not there is the last one of it
};

Way follow(const fs::path& name) {
  std::error_code error;
  fs::path at = "/";
  std::deque<fs::path> ahead;
  const auto prepend = [&ahead](const fs::path& path) {
    ahead.insert(ahead.begin(), path.begin(), path.end());
  };
  prepend(fs::absolute(name, error).relative_path());
  Way way;
  for (int links = 0; !ahead.empty();) {
    const fs::path part = ahead.front();
    ahead.pop_front();
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      at = at.parent_path();
      continue;
    }
    const fs::path next = at / part;
    const fs::path target = fs::read_symlink(next, error);
    const bool is_link = !error && ++links <= kMostLinks;
    const bool names_file = ahead.empty() && !fs::is_directory(next, error);
    const bool turns = is_link && is_beneath(fs::weakly_canonical(next, error), at);
    if (names_file || turns) way.directories.push_back(at);
    if (!is_link) {
      at = next;
      if (!fs::exists(at, error)) break;
      continue;
    }
    prepend(target.relative_path());
    if (target.is_absolute()) at = "/";
  }
  way.end = at;
  return way;
}

std::optional<std::pair<dev_t, ino_t>> identity_of(const fs::path& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  return std::pair(status.st_dev, status.st_ino);
}

bool is_root(const fs::path& path) {
  std::error_code error;
  return fs::equivalent(path, "/", error);
}

// Without procfs nobody knows.
bool another_thread_runs() {
  constexpr nlink_t kOfADirectory = 2;
  struct stat tasks{};
  return ::stat("/proc/self/task", &tasks) == 0 && tasks.st_nlink > kOfADirectory + 1;
}

std::string environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

Confinement::Confinement(const Options& options) {
  allow_system();
  allow_sockets(options);
  if (!options.state_dir.empty()) allow(options.state_dir, Access::kReplace);
}

void Confinement::allow(const fs::path& place, Access access) {
  if (is_root(place)) {
    if (access == Access::kReplace) refused_ = "nothing can be written to the root directory";
    return;
  }
  const auto identity = identity_of(place);
  if (!identity) return;
  landlock_.allow(place, access);
  places_.insert(*identity);
}

void Confinement::allow_reading(const fs::path& source) {
  std::error_code error;
  const Way way = follow(source);
  for (const fs::path& directory : way.directories) allow(directory);
  fs::path end = way.end;
  while (!fs::exists(end, error) && end != end.parent_path()) end = end.parent_path();
  if (!fs::is_directory(end, error)) {
    if (is_root(end.parent_path())) allow(end);
    return;
  }
  allow(end);
  // A bundle: links in it may lead out.
  for (fs::directory_iterator entry(end, error), none; !error && entry != none;
       entry.increment(error)) {
    if (!entry->is_symlink(error) || entry->is_directory(error)) continue;
    for (const fs::path& directory : follow(entry->path()).directories) allow(directory);
  }
}

// What libraries open late: modules of NSS, of OpenSSL and of iconv, time zones, who has which
// name.
void Confinement::allow_system() {
  for (const char* directory :
       {"/etc", "/usr", "/lib", "/lib64", "/sys/fs/cgroup", "/sys/devices/system/cpu",
        "/run/systemd/userdb", "/var/lib/extrausers", "/var/lib/sss/mc"})
    allow(directory, kSanitized ? Access::kExecute : Access::kRead);
  for (const char* file :
       {"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/localtime"})
    allow_reading(file);
  for (const char* device : {"/dev/null", "/dev/urandom", "/dev/random"}) allow(device);
  for (const int directory : {OPENSSL_INFO_CONFIG_DIR, OPENSSL_INFO_MODULES_DIR}) {
    if (const char* const path = OPENSSL_info(directory)) allow(path);
  }
  if (const std::string file = environment("OPENSSL_CONF"); !file.empty()) allow_reading(file);
  if (const std::string modules = environment("OPENSSL_MODULES"); !modules.empty()) allow(modules);
}

// procfs makes a new inode for a name that nobody holds, which a rule would not know.
void Confinement::allow_proc() {
  for (const char* path : {"/proc/self", "/proc/stat", "/proc/sys"}) {
    proc_.emplace_back(::open(path, O_PATH | O_CLOEXEC));
    allow(path);
  }
  if (kSanitized) allow("/proc/self/exe", Access::kExecute);
}

void Confinement::allow_sockets(const Options& options) {
  std::set<std::uint16_t> ports;
  const auto take = [&](const iouring::SocketAddress& address) {
    if (!address.is_unix()) {
      ports.insert(address.port());
      return;
    }
    const auto* const path = reinterpret_cast<const sockaddr_un*>(address.data())->sun_path;
    allow(fs::path(path).parent_path(), Access::kReplace);
  };
  for (const ListenAddress& each : options.listen) take(each.address);
  for (const EgressAddress& each : options.egress) take(each.address);
  for (const AdminAddress& each : options.admin) take(each.address);
  // Port 0 stands for one that is not known yet, and that the other shards bind by its number.
  if (!ports.contains(0)) landlock_.allow_bind(std::move(ports));
  // systemd's socket for READY=1 is one of a file system, but for old ones and some containers.
  if (environment("NOTIFY_SOCKET").starts_with('@')) landlock_.allow_abstract_sockets();
}

std::expected<int, std::string> Confinement::enter() {
  if (!refused_.empty()) return std::unexpected(refused_);
  // ThreadSanitizer has a thread of its own.
  if (!kSanitized && another_thread_runs())
    return std::unexpected("another thread runs already and would stay outside");
  allow_proc();
  auto version = landlock_.restrict_self();
  landlock_ = Landlock();  // descriptors would keep file systems from being unmounted
  entered_ = version && *version > 0;
  return version;
}

bool Confinement::covers(const fs::path& file) const {
  if (!entered_) return true;
  for (fs::path at = follow(file).end;; at = at.parent_path()) {
    if (const auto identity = identity_of(at); identity && places_.contains(*identity)) return true;
    if (at == at.parent_path()) return false;
  }
}

}  // namespace sallyport::gateway
