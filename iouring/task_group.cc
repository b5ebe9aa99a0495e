#include "iouring/task_group.h"

#include <utility>

namespace sallyport::iouring {

// A spawned task and its scope. In the ready queue twice: to be started, then to be freed.
class TaskGroup::Member final : public Waiter, public TaskDone {
 public:
  static void* operator new(std::size_t bytes) { return FrameMemory::allocate(bytes); }
  static void operator delete(void* memory, std::size_t bytes) noexcept {
    FrameMemory::deallocate(memory, bytes);
  }

  Member(TaskGroup& group, Task<void> task) noexcept
      : group_(&group), scope_(&group.scope_), task_(std::move(task)) {}

  [[nodiscard]] CancelScope& scope() noexcept { return scope_; }

 private:
  void on_cancel() noexcept override {}
  void on_ready() noexcept override {
    if (!task_.done()) {
      task_.start(&scope_, *this);
      return;
    }
    TaskGroup* group = group_;
    delete this;
    group->ended();
  }
  // Does not free: it runs inside the task's final suspension.
  std::coroutine_handle<> task_done() noexcept override {
    group_->ring_->make_ready(*this);
    return std::noop_coroutine();
  }

  TaskGroup* group_;
  CancelScope scope_;
  Task<void> task_;
};

TaskGroup::~TaskGroup() {
  invariant(size_ == 0, "a task group is joined before it is destroyed",
            static_cast<long long>(size_));
}

CancelScope& TaskGroup::spawn(Task<void> task) {
  auto* member = new Member(*this, std::move(task));
  ++size_;
  ring_->make_ready(*member);
  return member->scope();
}

void TaskGroup::ended() noexcept {
  --size_;
  if (size_ == 0 && joining_ != nullptr) ring_->make_ready(*std::exchange(joining_, nullptr));
}

void TaskGroup::Join::await_suspend(std::coroutine_handle<> awaiting) noexcept {
  invariant(group_->joining_ == nullptr, "one coroutine joins a group");
  awaiting_ = awaiting;
  group_->joining_ = this;
}

}  // namespace sallyport::iouring
