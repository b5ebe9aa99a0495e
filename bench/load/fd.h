// An owning descriptor, and the way the load programs give up.
#pragma once

#include <unistd.h>

#include <string_view>
#include <utility>

namespace sallyport::bench {

/// Prints `what` and the text of errno (if it is not zero) to stderr and exits with 1. Load
/// programs have nothing to save: a broken measurement is best ended at once.
[[noreturn]] void die(std::string_view what);

class Fd {
 public:
  Fd() = default;
  explicit Fd(int descriptor) : descriptor_(descriptor) {}
  Fd(Fd&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~Fd() { reset(); }

  int get() const { return descriptor_; }
  explicit operator bool() const { return descriptor_ >= 0; }
  void reset() {
    if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
  }

 private:
  int descriptor_ = -1;
};

}  // namespace sallyport::bench
