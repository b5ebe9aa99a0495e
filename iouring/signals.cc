#include "iouring/signals.h"

#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "iouring/poll.h"

namespace sallyport::iouring {

namespace {

sigset_t set_of(std::initializer_list<int> signals) noexcept {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : signals) sigaddset(&set, signal);
  return set;
}

}  // namespace

void block_signals(std::initializer_list<int> signals) {
  const sigset_t set = set_of(signals);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

Result<Signals> Signals::create(Ring& ring, std::initializer_list<int> signals) {
  const sigset_t set = set_of(signals);
  FileDescriptor descriptor(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!descriptor) return failure(errno);
  return Signals(ring, std::move(descriptor));
}

Task<Result<int>> Signals::next() {
  for (;;) {
    const Result<> readable = co_await Readable(*ring_, descriptor_.get());
    if (!readable) co_return failure(readable.error().value);
    struct signalfd_siginfo info;
    const ssize_t size = ::read(descriptor_.get(), &info, sizeof info);
    if (size == static_cast<ssize_t>(sizeof info)) co_return static_cast<int>(info.ssi_signo);
    if (size < 0 && errno != EAGAIN && errno != EINTR) co_return failure(errno);
  }
}

}  // namespace sallyport::iouring
