#include "bench/load/loop.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace sallyport::bench {

void die(std::string_view what) {
  const int error = errno;
  std::fprintf(stderr, "%s: %.*s%s%s\n", program_invocation_short_name,
               static_cast<int>(what.size()), what.data(), error != 0 ? ": " : "",
               error != 0 ? std::strerror(error) : "");
  std::exit(1);
}

Loop::Loop() : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
  if (!epoll_) die("epoll_create1");
}

void Loop::watch(int descriptor, Watched& object) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.ptr = &object;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, descriptor, &event) != 0) die("epoll_ctl");
}

void Loop::turn(Clock::time_point wake) {
  std::array<epoll_event, 256> events;
  // epoll_pwait2 because a millisecond is seven requests late.
  const auto left = std::max(wake - Clock::now(), Clock::duration::zero());
  const auto whole = std::chrono::duration_cast<std::chrono::seconds>(left);
  const timespec timeout{.tv_sec = whole.count(),
                         .tv_nsec = std::chrono::nanoseconds(left - whole).count()};
  const int count = ::epoll_pwait2(epoll_.get(), events.data(), static_cast<int>(events.size()),
                                   &timeout, nullptr);
  if (count < 0 && errno != EINTR) die("epoll_pwait2");
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<size_t>(i)];
    static_cast<Watched*>(event.data.ptr)->ready(event.events);
  }
}

}  // namespace sallyport::bench
