#include "tests/support/network_namespace.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <fstream>

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

}  // namespace

NetworkNamespace::NetworkNamespace()
    : before_(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) {
  if (::unshare(CLONE_NEWNET) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
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
  std::string file = "/proc/sys/net/" + std::string(setting);
  for (char& c : file) c = c == '.' ? '/' : c;
  std::ofstream out(file);
  out << value << std::flush;
  if (!out) throw TestFailure(file + " takes no " + std::string(value));
}

}  // namespace sallyport::test
