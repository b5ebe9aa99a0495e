#include "gateway/run/process.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "iouring/idle_worker.h"

namespace sallyport::gateway {
namespace {

// Raises RLIMIT_NICE so that an idle worker may leave SCHED_IDLE without root. A failure is
// ignored: without the right, its thread is not started (iouring/idle_worker.h).
void allow_nice_zero() {
  constexpr rlim_t kEnough = iouring::kNiceLimit;
  rlimit limit{};
  if (getrlimit(RLIMIT_NICE, &limit) != 0) return;
  limit = {.rlim_cur = std::max(limit.rlim_cur, kEnough),
           .rlim_max = std::max(limit.rlim_max, kEnough)};
  setrlimit(RLIMIT_NICE, &limit);
}

}  // namespace

bool open_standard_descriptors() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(descriptor, F_GETFD) != -1) continue;
    // The lowest free number, which is this one. Not close-on-exec, as standard descriptors are.
    if (open("/dev/null", O_RDWR) != descriptor) return false;  // NOLINT(*-vararg)
  }
  return true;
}

std::uint64_t raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  if (limit.rlim_cur < limit.rlim_max) {
    const rlimit raised{.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  return limit.rlim_cur;
}

void give_way_to_earlier_threads() {
  constexpr int kNicer = 5;
  const int now = ::getpriority(PRIO_PROCESS, 0);  // in Linux of the thread, not the process
  ::setpriority(PRIO_PROCESS, 0, now + kNicer);    // to a larger value: always allowed
}

std::vector<int> usable_cpus() {
  std::vector<int> cpus;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(static_cast<std::size_t>(cpu), &set)) cpus.push_back(cpu);
    }
  }
  if (cpus.empty()) cpus.push_back(0);
  return cpus;
}

void forbid_core_dumps() {
  const rlimit none{.rlim_cur = 0, .rlim_max = 0};
  setrlimit(RLIMIT_CORE, &none);
  // LeakSanitizer looks at its own process as a tracer would.
#if !defined(__SANITIZE_ADDRESS__) && !__has_feature(address_sanitizer)
  prctl(PR_SET_DUMPABLE, 0);
#endif
}

void forbid_new_privileges() {
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

std::expected<UserId, std::string> find_user(const std::string& name) {
  errno = 0;
  const passwd* entry = getpwnam(name.c_str());
  if (entry != nullptr) return UserId{.user = entry->pw_uid, .group = entry->pw_gid};
  return std::unexpected("--user " + name + ": " +
                         (errno != 0 ? std::strerror(errno) : "no such user"));
}

std::expected<void, std::string> become_user(const std::string& name) {
  const auto found = find_user(name);
  if (!found) return std::unexpected(found.error());
  const auto [user, group] = *found;
  if (user == geteuid()) return {};
  const auto failed = [&](const char* call) {
    return std::unexpected("--user " + name + ": " + call + ": " + std::strerror(errno));
  };
  allow_nice_zero();
  if (initgroups(name.c_str(), group) != 0) return failed("initgroups");
  if (setresgid(group, group, group) != 0) return failed("setresgid");
  if (setresuid(user, user, user) != 0) return failed("setresuid");
  if (setuid(0) == 0) return std::unexpected("--user: root came back");
  forbid_core_dumps();  // a change of user sets it back
  return {};
}

std::expected<void, std::string> become_reader(const std::string& user) {
  if (user.empty()) return {};
  if (::geteuid() == 0) return become_user(user);
  const auto found = find_user(user);
  if (!found) return std::unexpected(found.error());
  if (found->user != ::geteuid()) {
    std::fprintf(
        stderr,
        "sallyport: warning: not root: files are judged as the user that runs this, not %s\n",
        user.c_str());
  }
  return {};
}

bool kernel_migrates_requests() {
  int value = 0;
  std::ifstream("/proc/sys/net/ipv4/tcp_migrate_req") >> value;  // of IPv6, too
  return value == 1;
}

}  // namespace sallyport::gateway
