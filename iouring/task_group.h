#pragma once
// Tasks that run beside the coroutine that spawned them: spawn, count, cancel all, join.
#include <coroutine>
#include <cstddef>

#include "iouring/cancel.h"
#include "iouring/ring.h"
#include "iouring/task.h"

namespace sallyport::iouring {

/// Each spawned task runs under a cancel scope of its own, a child of the group's. Aborts when
/// destroyed before its tasks have ended: join first.
class TaskGroup {
 public:
  explicit TaskGroup(Ring& ring) noexcept : ring_(&ring) {}
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;
  ~TaskGroup();

  /// The run loop starts the task, in this iteration or the next. Returns the task's scope, valid
  /// until the task has ended.
  CancelScope& spawn(Task<void> task);

  /// Also cancels what is spawned later.
  void cancel_all() noexcept { scope_.cancel(); }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  /// `co_await group.join();`: resumes when the group is empty; not cancelled itself (call
  /// cancel_all() before to end the tasks). One join at a time.
  class Join;
  [[nodiscard]] Join join() noexcept;

 private:
  class Member;
  void ended() noexcept;

  Ring* ring_;
  CancelScope scope_;
  std::size_t size_ = 0;
  Join* joining_ = nullptr;
};

class [[nodiscard]] TaskGroup::Join final : private Waiter {
 public:
  explicit Join(TaskGroup& group) noexcept : group_(&group) {}
  bool await_ready() const noexcept { return group_->size_ == 0; }
  void await_suspend(std::coroutine_handle<> awaiting) noexcept;
  void await_resume() const noexcept {}

 private:
  friend class TaskGroup;
  void on_cancel() noexcept override {}
  void on_ready() noexcept override { awaiting_.resume(); }

  TaskGroup* group_;
  std::coroutine_handle<> awaiting_;
};

inline TaskGroup::Join TaskGroup::join() noexcept {
  return Join(*this);
}

}  // namespace sallyport::iouring
