// A test of the compiler, run when the build is configured: the smallest program that g++ 12
// miscompiles. A lazy coroutine without a local variable, whose body is `if (co_await ...)`, must
// run that body.
#include <coroutine>
#include <cstdlib>
#include <exception>
#include <expected>
#include <utility>

namespace {

struct Lazy {
  struct promise_type {
    Lazy get_return_object() {
      return Lazy{std::coroutine_handle<promise_type>::from_promise(*this)};
    }
    std::suspend_always initial_suspend() noexcept { return {}; }
    auto final_suspend() noexcept {
      struct Back {
        bool await_ready() noexcept { return false; }
        std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> me) noexcept {
          return me.promise().awaiting;
        }
        void await_resume() noexcept {}
      };
      return Back{};
    }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
    std::coroutine_handle<> awaiting = std::noop_coroutine();
  };
  explicit Lazy(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  Lazy(Lazy&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  ~Lazy() {
    if (handle_) handle_.destroy();
  }
  bool await_ready() { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiting) {
    handle_.promise().awaiting = awaiting;
    return handle_;
  }
  void await_resume() {}
  std::coroutine_handle<promise_type> handle_;
};

struct Ready {
  bool await_ready() { return true; }
  void await_suspend(std::coroutine_handle<>) {}
  bool await_resume() { return true; }
};

int runs = 0;

Lazy inner() {
  if (co_await Ready{}) {
    ++runs;
    co_return;
  }
}

Lazy outer() {
  co_await inner();
  ++runs;
}

}  // namespace

int main() {
  std::expected<int, int> expected = 2;
  Lazy task = outer();
  task.handle_.resume();
  return runs == expected.value() ? EXIT_SUCCESS : EXIT_FAILURE;
}
