#include "ktls/records/kernel_tls_probe.h"

#include <gtest/gtest.h>
#include <sys/utsname.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <string>

#include "tests/ktls/bytes.h"
#include "tests/ktls/records/ktls_required.h"

namespace sallyport::ktls {
namespace {

using testing::kernel_tls;
using testing::kSuites;

TEST(KernelTlsProbe, HasAWordForEachReason) {
  std::set<std::string_view> words;
  for (std::size_t i = 0; i < kKtlsFallbacks; ++i) {
    const std::string_view word = to_string(static_cast<KtlsFallback>(i));
    EXPECT_FALSE(word.empty());
    EXPECT_EQ(word.find_first_not_of("abcdefghijklmnopqrstuvwxyz_"), std::string_view::npos);
    words.insert(word);
  }
  EXPECT_EQ(words.size(), kKtlsFallbacks);
}

TEST(KernelTlsProbe, RefusesEverythingBeforeItWasProbed) {
  const KernelTls nothing;
  EXPECT_FALSE(nothing.usable());
  EXPECT_FALSE(nothing.can_rekey());
  EXPECT_EQ(nothing.refuses(RecordVersion::kTls13, CipherSuite::kAes128GcmSha256),
            KtlsFallback::kNotProbed);
}

TEST(KernelTlsProbe, SaysInOneLineWhatItFound) {
  const std::string line = kernel_tls().describe();
  RecordProperty("found", line);
  EXPECT_TRUE(line.starts_with("kernel TLS: ")) << line;
  EXPECT_EQ(line.find('\n'), std::string::npos);
  EXPECT_EQ(line.find("unavailable") == std::string::npos, kernel_tls().usable()) << line;
}

TEST(KernelTlsProbe, NamesTheReasonWhereThereIsNone) {
  if (kernel_tls().usable()) GTEST_SKIP() << "this kernel has TLS (tests/vm/run --without tls)";
  if (testing::ktls_required()) FAIL() << kernel_tls().describe();
  std::ifstream ulps("/proc/sys/net/ipv4/tcp_available_ulp");
  const std::string known((std::istreambuf_iterator<char>(ulps)), {});
  ASSERT_EQ(known.find("tls"), std::string::npos) << known;
  for (const CipherSuite suite : kSuites) {
    EXPECT_EQ(kernel_tls().refuses(RecordVersion::kTls13, suite), KtlsFallback::kModuleAbsent);
  }
}

TEST(KernelTlsProbe, FindsEverySuiteOfBothVersions) {
  SALLYPORT_NEEDS_KTLS();
  for (const CipherSuite suite : kSuites) {
    EXPECT_EQ(kernel_tls().refuses(RecordVersion::kTls13, suite), std::nullopt) << name(suite);
    EXPECT_EQ(kernel_tls().refuses(RecordVersion::kTls12, suite), std::nullopt) << name(suite);
  }
}

/// Re-keying came with 6.14; what we probed must not claim it before. Distributions may have
/// brought it back, so that the version proves nothing the other way round.
TEST(KernelTlsProbe, FindsRekeyingWhereTheKernelSurelyHasIt) {
  SALLYPORT_NEEDS_KTLS();
  utsname system{};
  ASSERT_EQ(::uname(&system), 0);
  int major = 0, minor = 0;
  ASSERT_EQ(std::sscanf(system.release, "%d.%d", &major, &minor), 2);
  if (major > 6 || (major == 6 && minor >= 14)) {
    EXPECT_TRUE(kernel_tls().can_rekey()) << system.release;
    EXPECT_FALSE(kernel_tls().polls_partial_records()) << system.release;
  }
  if (major == 6 && minor == 1) {
    EXPECT_FALSE(kernel_tls().can_rekey());
    EXPECT_TRUE(kernel_tls().polls_partial_records());
  }
}

}  // namespace
}  // namespace sallyport::ktls
