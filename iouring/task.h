#pragma once
// Task, the only asynchronous style: a lazy coroutine with a single owner.
//
//   Task<Result<std::size_t>> echo_once(Socket& socket, std::span<std::byte> room) {
//     Result<std::size_t> received = co_await socket.recv(room);
//     if (!received) co_return failure(received.error().value);
//     ...
//
// Await into a named variable or as a whole statement. No lambda that captures is a coroutine: the
// captures are destroyed with the lambda while the frame still exists.
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>

#include "iouring/cancel.h"
#include "iouring/frame_memory.h"
#include "iouring/invariant.h"

namespace sallyport::iouring {

/// task_done() is called when a task has ended; it returns the coroutine to resume next, or
/// std::noop_coroutine(). It runs in the final suspension of the task and must not destroy it.
class TaskDone {
 public:
  virtual std::coroutine_handle<> task_done() noexcept = 0;

 protected:
  TaskDone() noexcept = default;
  ~TaskDone() = default;
};

/// What continues when a task ends: a coroutine or a TaskDone, in one word.
class Continuation {
 public:
  Continuation() noexcept = default;
  explicit Continuation(std::coroutine_handle<> awaiting) noexcept
      : word_(reinterpret_cast<std::uintptr_t>(awaiting.address())) {}
  explicit Continuation(TaskDone& done) noexcept
      : word_(reinterpret_cast<std::uintptr_t>(&done) | kIsTaskDone) {}

  [[nodiscard]] std::coroutine_handle<> next() const noexcept {
    if ((word_ & kIsTaskDone) != 0)
      return reinterpret_cast<TaskDone*>(word_ & ~kIsTaskDone)->task_done();
    return std::coroutine_handle<>::from_address(reinterpret_cast<void*>(word_));
  }

 private:
  static constexpr std::uintptr_t kIsTaskDone = 1;
  std::uintptr_t word_ = 0;
};

/// The part common to all promises: 16 bytes.
class PromiseBase {
 public:
  static void* operator new(std::size_t bytes) { return FrameMemory::allocate(bytes); }
  static void operator delete(void* memory, std::size_t bytes) noexcept {
    FrameMemory::deallocate(memory, bytes);
  }

  struct Final {
    bool await_ready() const noexcept { return false; }
    template <std::derived_from<PromiseBase> P>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<P> ended) const noexcept {
      return ended.promise().continuation.next();
    }
    void await_resume() const noexcept {}
  };

  std::suspend_always initial_suspend() const noexcept { return {}; }
  Final final_suspend() const noexcept { return {}; }
  /// Tasks do not throw: errors are values, and a frame that an exception unwinds would leave
  /// operations pending.
  [[noreturn]] void unhandled_exception() const noexcept {
    invariant_broken("no exception leaves a task", 0, 0);
  }

  CancelScope* scope = nullptr;
  Continuation continuation;
};

/// The scope that `awaiting` runs under; null when there is none or the coroutine is no Task.
template <class P>
[[nodiscard]] CancelScope* scope_of(std::coroutine_handle<P> awaiting) noexcept {
  if constexpr (std::derived_from<P, PromiseBase>)
    return awaiting.promise().scope;
  else
    return nullptr;
}

template <class T = void>
class Task;

namespace detail {

template <class T>
class TaskPromise : public PromiseBase {
 public:
  Task<T> get_return_object() noexcept;
  template <class U>
    requires std::constructible_from<T, U&&>
  void return_value(U&& value) {
    value_.emplace(std::forward<U>(value));
  }
  T take() { return std::move(*value_); }

 private:
  std::optional<T> value_;
};

template <>
class TaskPromise<void> : public PromiseBase {
 public:
  Task<void> get_return_object() noexcept;
  void return_void() const noexcept {}
  void take() const noexcept {}
};

}  // namespace detail

/// Starts when awaited, once; owns its frame. Destroying a task that is suspended aborts if an
/// operation of it is pending: cancel its scope and let it return instead.
template <class T>
class [[nodiscard]] Task {
 public:
  using promise_type = detail::TaskPromise<T>;
  using Handle = std::coroutine_handle<promise_type>;

  Task() noexcept = default;
  explicit Task(Handle frame) noexcept : frame_(frame) {}
  Task(Task&& other) noexcept : frame_(std::exchange(other.frame_, {})) {}
  Task& operator=(Task&&) = delete;
  ~Task() {
    if (frame_) frame_.destroy();
  }

  [[nodiscard]] bool done() const noexcept { return frame_ && frame_.done(); }

  /// Awaiting starts the task under the scope of the awaiting coroutine. One word, because it is
  /// stored in the awaiting frame.
  class Awaiter {
   public:
    explicit Awaiter(Handle frame) noexcept : frame_(frame) {}
    bool await_ready() const noexcept { return false; }
    template <class P>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<P> awaiting) const noexcept {
      return begin(awaiting, scope_of(awaiting));
    }
    T await_resume() const { return frame_.promise().take(); }

   protected:
    std::coroutine_handle<> begin(std::coroutine_handle<> awaiting,
                                  CancelScope* scope) const noexcept {
      frame_.promise().scope = scope;
      frame_.promise().continuation = Continuation(awaiting);
      return frame_;
    }

   private:
    Handle frame_;
  };
  Awaiter operator co_await() && noexcept {
    invariant(static_cast<bool>(frame_), "a task that is awaited has a frame");
    return Awaiter(frame_);
  }

  // For code that runs tasks without being a coroutine (Ring, TaskGroup, both()).
  void start(CancelScope* scope, TaskDone& done) noexcept {
    invariant(static_cast<bool>(frame_), "a task that is started has a frame");
    frame_.promise().scope = scope;
    frame_.promise().continuation = Continuation(done);
    frame_.resume();
  }
  T take() { return frame_.promise().take(); }

 private:
  template <class U>
  friend class ScopedTask;
  Handle frame_;
};

template <class T>
Task<T> detail::TaskPromise<T>::get_return_object() noexcept {
  return Task<T>(std::coroutine_handle<TaskPromise>::from_promise(*this));
}
inline Task<void> detail::TaskPromise<void>::get_return_object() noexcept {
  return Task<void>(std::coroutine_handle<TaskPromise>::from_promise(*this));
}

template <class T>
class [[nodiscard]] ScopedTask {
 public:
  ScopedTask(CancelScope& scope, Task<T> task) noexcept : scope_(&scope), task_(std::move(task)) {}

  class Awaiter : public Task<T>::Awaiter {
   public:
    Awaiter(typename Task<T>::Handle frame, CancelScope& scope) noexcept
        : Task<T>::Awaiter(frame), scope_(&scope) {}
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiting) const noexcept {
      return this->begin(awaiting, scope_);
    }

   private:
    CancelScope* scope_;
  };
  Awaiter operator co_await() && noexcept { return Awaiter(task_.frame_, *scope_); }

 private:
  CancelScope* scope_;
  Task<T> task_;
};

/// `co_await in_scope(scope, task())`: runs the task under `scope` instead of the caller's scope.
/// The caller's scope should be its parent (current_scope()); otherwise cancelling the caller does
/// not cancel the task.
template <class T>
[[nodiscard]] ScopedTask<T> in_scope(CancelScope& scope, Task<T> task) noexcept {
  return ScopedTask<T>(scope, std::move(task));
}

class CurrentScope {
 public:
  bool await_ready() const noexcept { return false; }
  template <class P>
  bool await_suspend(std::coroutine_handle<P> awaiting) noexcept {
    scope_ = scope_of(awaiting);
    return false;
  }
  CancelScope* await_resume() const noexcept { return scope_; }

 private:
  CancelScope* scope_ = nullptr;
};

/// `CancelScope* scope = co_await current_scope();`: never suspends; null under no scope.
[[nodiscard]] inline CurrentScope current_scope() noexcept {
  return {};
}

}  // namespace sallyport::iouring
