#pragma once
// Invariants, checked in every build: a broken one ends the process, because a freed buffer that
// the kernel still writes to is worse than a restart.

namespace sallyport::iouring {

/// Writes the rule and the two values to stderr and aborts.
[[noreturn]] void invariant_broken(const char* rule, long long found, long long expected) noexcept;

/// Aborts unless `holds`. `rule` says what must be true.
inline void invariant(bool holds, const char* rule, long long found = 0,
                      long long expected = 0) noexcept {
  if (!holds) [[unlikely]]
    invariant_broken(rule, found, expected);
}

}  // namespace sallyport::iouring
