#pragma once
// Broken invariants end the process in every build: a freed buffer that the kernel still writes to
// is worse than a restart.

namespace sallyport::iouring {

/// Writes the rule and both values to stderr and aborts.
[[noreturn]] void invariant_broken(const char* rule, long long found, long long expected) noexcept;

/// Aborts unless `holds`. `rule` says what should have been true.
inline void invariant(bool holds, const char* rule, long long found = 0,
                      long long expected = 0) noexcept {
  if (!holds) [[unlikely]]
    invariant_broken(rule, found, expected);
}

}  // namespace sallyport::iouring
