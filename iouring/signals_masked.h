#pragma once

#include <csignal>

namespace sallyport::iouring {

/// Masks all signals of this thread while it lives. Threads that are made meanwhile inherit the
/// mask, so that signals stay with the thread that waits for them (signals.h).
class SignalsMasked {
 public:
  SignalsMasked() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsMasked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsMasked(const SignalsMasked&) = delete;
  SignalsMasked& operator=(const SignalsMasked&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace sallyport::iouring
