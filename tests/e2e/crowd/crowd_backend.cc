// The backend of the ten-thousand test, as a process of its own: an epoll echo that holds as many
// connections as its descriptors carry. Prints the address that it got, serves until its standard
// input ends.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <string>
#include <string_view>

#include "tests/support/net.h"

using namespace sallyport::test;

namespace {

void add(int epoll, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  ::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

// The crowd's messages fit any socket buffer, so a short write is a defect of the test.
bool echo_once(int fd) {
  char buffer[4096];
  const ssize_t size = ::recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
  if (size < 0) return errno == EAGAIN || errno == EINTR;
  if (size == 0) return false;
  return ::send(fd, buffer, static_cast<std::size_t>(size), MSG_NOSIGNAL) == size;
}

}  // namespace

int main() {
  std::signal(SIGPIPE, SIG_IGN);
  const Fd listener = listen_on("127.0.0.1:0", 8192);
  ::fcntl(listener.get(), F_SETFL, O_NONBLOCK);
  const Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  add(epoll.get(), listener.get());
  add(epoll.get(), STDIN_FILENO);
  std::printf("%s\n", local_address(listener).to_string().c_str());
  std::fflush(stdout);

  std::array<epoll_event, 512> events;
  for (;;) {
    const int count = ::epoll_wait(epoll.get(), events.data(), events.size(), -1);
    for (int i = 0; i < count; ++i) {
      const int fd = events[static_cast<std::size_t>(i)].data.fd;
      if (fd == STDIN_FILENO) return 0;
      if (fd != listener.get()) {
        if (!echo_once(fd)) ::close(fd);
        continue;
      }
      for (int accepted = 0; (accepted = ::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
        add(epoll.get(), accepted);
      }
    }
  }
}
