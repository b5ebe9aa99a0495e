#pragma once
// Which sanitizer this build has, and AddressSanitizer's poisoning of memory that must not be used.
#include <cstddef>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SALLYPORT_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define SALLYPORT_TSAN 1
#endif
#endif

#ifdef SALLYPORT_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace sallyport::iouring {

#if defined(SALLYPORT_ASAN) || defined(SALLYPORT_TSAN)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

/// An access to it is an error until unpoison(). Does nothing without AddressSanitizer.
inline void poison([[maybe_unused]] const void* memory,
                   [[maybe_unused]] std::size_t bytes) noexcept {
#ifdef SALLYPORT_ASAN
  ASAN_POISON_MEMORY_REGION(memory, bytes);
#endif
}

inline void unpoison([[maybe_unused]] const void* memory,
                     [[maybe_unused]] std::size_t bytes) noexcept {
#ifdef SALLYPORT_ASAN
  ASAN_UNPOISON_MEMORY_REGION(memory, bytes);
#endif
}

}  // namespace sallyport::iouring
