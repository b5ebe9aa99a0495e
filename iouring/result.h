#pragma once
// Errors that the kernel can cause: values with the errno and its name, never thrown.
#include <expected>

namespace sallyport::iouring {

/// The symbol of an errno, "ECONNRESET"; "EUNKNOWN" for a number that the C library does not know.
/// Negative numbers, as the ring reports them, are accepted too.
[[nodiscard]] const char* errno_name(int error) noexcept;

/// A positive errno value (errno(3)).
struct Errno {
  int value = 0;

  [[nodiscard]] const char* name() const noexcept { return errno_name(value); }
  friend bool operator==(Errno, Errno) = default;
};

template <class T = void>
using Result = std::expected<T, Errno>;

/// `return failure(ENFILE);` in a function that returns a Result. Takes -ENFILE too.
[[nodiscard]] inline std::unexpected<Errno> failure(int error) noexcept {
  return std::unexpected(Errno{error < 0 ? -error : error});
}

}  // namespace sallyport::iouring
