#pragma once

#include <coroutine>
#include <utility>

#include "iouring/cancel.h"
#include "iouring/ring.h"

namespace sallyport::ktls {

/// The right to write to a socket: one holder at a time; those that wait get it in their order. The
/// holder always releases it by itself, and soon when cancelled, so that the wait needs no
/// cancellation.
class WriteLock {
 public:
  class Acquire;

  explicit WriteLock(iouring::Ring& ring) noexcept : ring_(ring) {}
  WriteLock(const WriteLock&) = delete;
  WriteLock& operator=(const WriteLock&) = delete;

  /// `co_await lock.acquire();` waits until it is free.
  Acquire acquire() noexcept;
  /// Takes it if it is free.
  bool try_acquire() noexcept { return !std::exchange(held_, true); }
  bool held() const noexcept { return held_; }
  void release() noexcept;

 private:
  iouring::Ring& ring_;
  Acquire* waiting_ = nullptr;  // the first of them
  bool held_ = false;
};

class WriteLock::Acquire final : private iouring::Waiter {
 public:
  explicit Acquire(WriteLock& lock) noexcept : lock_(lock) {}
  bool await_ready() const noexcept { return !lock_.held_; }
  void await_suspend(std::coroutine_handle<> awaiting) noexcept {
    awaiting_ = awaiting;
    Acquire** last = &lock_.waiting_;  // few wait: a send of data, and an alert
    while (*last != nullptr) last = &(*last)->next_;
    *last = this;
  }
  void await_resume() noexcept { lock_.held_ = true; }

 private:
  friend class WriteLock;
  void on_cancel() noexcept override {}
  void on_ready() noexcept override { awaiting_.resume(); }

  WriteLock& lock_;
  Acquire* next_ = nullptr;
  std::coroutine_handle<> awaiting_;
};

inline WriteLock::Acquire WriteLock::acquire() noexcept {
  return Acquire(*this);
}

inline void WriteLock::release() noexcept {
  if (waiting_ == nullptr) {
    held_ = false;
    return;
  }
  // Still held: no other one comes between.
  ring_.make_ready(*std::exchange(waiting_, waiting_->next_));
}

}  // namespace sallyport::ktls
