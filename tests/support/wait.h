#pragma once

#include <chrono>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>

namespace sallyport::test {

/// What a test throws when the world does not do what it must; GoogleTest reports the text.
struct TestFailure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif
#else
inline constexpr bool kSanitized = false;
#endif

/// How long a test waits for something that must happen, before it calls it a failure: long, since
/// it is only ever waited out by a defect. No test asserts that anything is fast.
inline constexpr std::chrono::seconds kPatience{kSanitized ? 120 : 30};

/// Polls `condition` until it holds or patience ends; says whether it held.
inline bool eventually(const std::function<bool()>& condition,
                       std::chrono::milliseconds patience = kPatience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // polling interval, not a guess
  }
  return true;
}

/// As eventually(), and throws TestFailure naming `what` when it never came.
inline void wait_until(const std::string& what, const std::function<bool()>& condition) {
  if (!eventually(condition)) throw TestFailure("never happened: " + what);
}

}  // namespace sallyport::test
