#pragma once
// Two tasks at once on one shard, such as the two directions of a relay.
#include <coroutine>
#include <utility>
#include <variant>

#include "iouring/task.h"

namespace sallyport::iouring {

namespace detail {
template <class T>
using OrMonostate = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

template <class T>
OrMonostate<T> take_from(Task<T>& task) {
  if constexpr (std::is_void_v<T>) {
    return {};
  } else {
    return task.take();
  }
}
}  // namespace detail

template <class A, class B>
class [[nodiscard]] Both final : private TaskDone {
 public:
  Both(Task<A> first, Task<B> second) noexcept
      : first_(std::move(first)), second_(std::move(second)) {}
  Both(const Both&) = delete;
  Both& operator=(const Both&) = delete;

  bool await_ready() const noexcept { return false; }
  template <class P>
  bool await_suspend(std::coroutine_handle<P> awaiting) noexcept {
    awaiting_ = awaiting;
    CancelScope* scope = scope_of(awaiting);
    first_.start(scope, *this);
    second_.start(scope, *this);
    return --running_ != 0;
  }
  std::pair<detail::OrMonostate<A>, detail::OrMonostate<B>> await_resume() {
    return {detail::take_from(first_), detail::take_from(second_)};
  }

 private:
  std::coroutine_handle<> task_done() noexcept override {
    if (--running_ == 0) return awaiting_;
    return std::noop_coroutine();
  }

  Task<A> first_;
  Task<B> second_;
  std::coroutine_handle<> awaiting_;
  int running_ = 3;  // the two tasks, and await_suspend while it starts them
};

/// `auto [up, down] = co_await both(pump(a, b), pump(b, a));`: starts both under the caller's
/// scope, in this order, and resumes when both have ended. The end of one does not cancel the
/// other. No frame besides theirs; a void task yields std::monostate.
template <class A, class B>
[[nodiscard]] Both<A, B> both(Task<A> first, Task<B> second) noexcept {
  return Both<A, B>(std::move(first), std::move(second));
}

}  // namespace sallyport::iouring
