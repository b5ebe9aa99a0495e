#pragma once
// One submission in flight. Nothing that the kernel may still use is freed (checked).
#include <coroutine>
#include <cstdint>

#include "iouring/cancel.h"
#include "iouring/result.h"
#include "iouring/ring.h"
#include "iouring/task.h"

struct io_uring_sqe;

namespace sallyport::iouring {

/// Base of every awaitable that the kernel completes. Lives in the awaiting coroutine's frame and
/// is neither copied nor moved; its address is the user_data of the sqe. The destructor aborts
/// while a completion is pending. An operation that is cancelled when its completion is already on
/// its way delivers its result.
class Operation : public Waiter {
 public:
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;

  bool await_ready() const noexcept { return false; }
  template <class P>
  bool await_suspend(std::coroutine_handle<P> awaiting) noexcept {
    return begin(awaiting, scope_of(awaiting));
  }

  /// For the run loop: a completion queue entry of this operation.
  void take_completion(int result, unsigned flags) noexcept;
  [[nodiscard]] bool in_flight() const noexcept { return in_flight_; }

 protected:
  explicit Operation(Ring* ring) noexcept : ring_(ring) {}
  ~Operation();

  /// Registers with the scope and submits; false when there is nothing to wait for (cancelled
  /// scope, or done without the ring).
  virtual bool begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept;
  /// Fills the entry except user_data.
  virtual void prepare(io_uring_sqe& sqe) noexcept = 0;
  /// Takes the completion: true resumes the coroutine, false when the operation waits for another
  /// completion.
  virtual bool finish(int result, unsigned flags) noexcept;

  void submit() noexcept;
  /// For an operation that is used again after it was cancelled.
  void submit_again() noexcept;
  void on_cancel() noexcept override;
  void on_ready() noexcept override;

  [[nodiscard]] Ring& ring() const noexcept { return *ring_; }
  [[nodiscard]] bool cancel_requested() const noexcept { return cancel_requested_; }

  int result_ = 0;  // the kernel's: a negative errno, or a count

 private:
  bool in_flight_ = false;
  bool cancel_requested_ = false;
  Ring* ring_;
  std::coroutine_handle<> awaiting_;
};

}  // namespace sallyport::iouring
