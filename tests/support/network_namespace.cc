#include "tests/support/network_namespace.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <sstream>
#include <vector>

#include "tests/support/process.h"
#include "tests/support/wait.h"

namespace sallyport::test {
namespace {

void bring_loopback_up() {
  const Fd any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq loopback{};
  std::strcpy(loopback.ifr_name, "lo");
  loopback.ifr_flags = IFF_UP;
  if (::ioctl(any.get(), SIOCSIFFLAGS, &loopback) != 0) {
    throw TestFailure(std::string("loopback: ") + std::strerror(errno));
  }
}

// /proc of the test's own: the system's may be mounted read-only, as in containers. Where the test
// may mount none (in a user namespace) it is the system's.
Fd open_proc() {
  const Fd made(::fsopen("proc", FSOPEN_CLOEXEC));
  if (made.get() >= 0 && ::fsconfig(made.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == 0) {
    Fd mounted(::fsmount(made.get(), FSMOUNT_CLOEXEC, 0));
    if (mounted.get() >= 0) return mounted;
  }
  return Fd(::open("/proc", O_PATH | O_CLOEXEC));
}

void write_once(const char* file, const std::string& text) {
  const Fd out(::open(file, O_WRONLY | O_CLOEXEC));
  if (::write(out.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    throw TestFailure(std::string(file) + ": " + std::strerror(errno));
}

// As root of a user namespace, so that the programs that are started there keep its rights.
bool unshare_as_its_root() {
  const std::string user = std::to_string(::geteuid());
  const std::string group = std::to_string(::getegid());
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return false;
  write_once("/proc/self/setgroups", "deny");
  write_once("/proc/self/uid_map", "0 " + user + " 1");
  write_once("/proc/self/gid_map", "0 " + group + " 1");
  return true;
}

}  // namespace

NetworkNamespace::NetworkNamespace()
    : before_(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) {
  if (::unshare(CLONE_NEWNET) != 0 && !unshare_as_its_root()) {
    missing_ = std::string("a network namespace of its own: ") + std::strerror(errno);
    return;
  }
  bring_loopback_up();
}

NetworkNamespace::~NetworkNamespace() {
  // Refused after CLONE_NEWUSER: the process then stays in there.
  if (missing_.empty()) ::setns(before_.get(), CLONE_NEWNET);
}

void NetworkNamespace::set(std::string_view setting, std::string_view value) {
  std::string file = "sys/net/" + std::string(setting);
  for (char& c : file) c = c == '.' ? '/' : c;
  const Fd out(::openat(open_proc().get(), file.c_str(), O_WRONLY | O_CLOEXEC));
  if (::write(out.get(), value.data(), value.size()) != static_cast<ssize_t>(value.size()))
    throw TestFailure(file + " takes no " + std::string(value) + ": " + std::strerror(errno));
}

void NetworkNamespace::ip(const std::string& command) {
  std::vector<std::string> argv{"ip"};
  std::istringstream words(command);
  for (std::string word; words >> word;) argv.push_back(word);
  const Finished finished = run(argv);
  if (finished.status != 0) throw TestFailure("ip " + command + ": " + finished.err);
}

}  // namespace sallyport::test
