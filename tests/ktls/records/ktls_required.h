#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdlib>
#include <string_view>

#include "ktls/records/kernel_tls_probe.h"

namespace sallyport::ktls::testing {

/// This machine's kernel TLS, asked once.
inline const KernelTls& kernel_tls() {
  static const KernelTls found = KernelTls::probe();
  return found;
}

inline bool is_set(const char* variable) {
  const char* const value = std::getenv(variable);
  return value != nullptr && std::string_view(value) == "1";
}

/// Guests that were booted for the sake of kernel TLS set it: there its absence is a failure.
inline bool ktls_required() {
  return is_set("SALLYPORT_REQUIRE_KTLS");
}

/// Whether the kernel takes new keys. Guests whose kernel is known to set SALLYPORT_REQUIRE_REKEY:
/// there a test that would be content with less fails.
inline bool can_rekey() {
  const bool found = kernel_tls().can_rekey();
  EXPECT_TRUE(found || !is_set("SALLYPORT_REQUIRE_REKEY"))
      << "this kernel was to have re-keying: " << kernel_tls().describe();
  return found;
}

/// How much data a test moves: less in those guests, which are emulated.
inline std::size_t bulk(std::size_t bytes) {
  return ktls_required() ? bytes / 8 : bytes;
}

}  // namespace sallyport::ktls::testing

/// Skips the test, saying what is missing, where the kernel has no TLS; fails it where it must.
/// In a test's body or SetUp().
#define SALLYPORT_NEEDS_KTLS()                                                       \
  do {                                                                               \
    if (::sallyport::ktls::testing::kernel_tls().usable()) break;                    \
    const std::string missing = ::sallyport::ktls::testing::kernel_tls().describe(); \
    if (::sallyport::ktls::testing::ktls_required()) FAIL() << missing;              \
    GTEST_SKIP() << missing;                                                         \
  } while (false)

/// The same for replacing keys, which older kernels cannot.
#define SALLYPORT_NEEDS_REKEY()                                                                \
  do {                                                                                         \
    SALLYPORT_NEEDS_KTLS();                                                                    \
    if (!::sallyport::ktls::testing::can_rekey())                                              \
      GTEST_SKIP() << "this kernel's TLS cannot re-key (setsockopt TLS_TX twice gives EBUSY)"; \
  } while (false)
