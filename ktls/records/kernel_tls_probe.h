#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "ktls/keys/suite.h"
#include "ktls/records/crypto_info.h"

namespace sallyport::ktls {

/// Why a connection's records stay in userspace: the label of ktls_fallback_total{reason}.
enum class KtlsFallback : std::uint8_t {
  kNotProbed,           ///< the kernel was not probed
  kProbeFailed,         ///< no loopback connection to try it on
  kModuleAbsent,        ///< TCP_ULP "tls" gives ENOENT: neither built in nor loaded nor loadable
  kForbidden,           ///< TCP_ULP gives anything else
  kVersionUnsupported,  ///< none of the suites works with this protocol version
  kSuiteUnsupported,    ///< this suite does not work: its AEAD module may be missing
  kSocketUnsuitable,    ///< no TCP, or no descriptor of its own any more
  kUnsettled,           ///< half sent or half received: an answer, a message, an end
  kKeyRefused,          ///< TCP_ULP or TLS_TX failed, though the probe had succeeded
};
inline constexpr std::size_t kKtlsFallbacks =
    static_cast<std::size_t>(KtlsFallback::kKeyRefused) + 1;

/// The words, in the order of the enumeration.
inline constexpr std::array<std::string_view, kKtlsFallbacks> kKtlsFallbackWords{
    "not_probed",        "probe_failed",      "module_absent", "forbidden",   "version_unsupported",
    "suite_unsupported", "socket_unsuitable", "unsettled",     "key_refused",
};
std::string_view to_string(KtlsFallback reason) noexcept;

/// The abilities of this kernel's TLS, found by trying them. A value.
class KernelTls {
 public:
  /// Nothing: kNotProbed.
  KernelTls() noexcept = default;

  /// Tries everything on connections over loopback; blocks for some milliseconds. Call it once,
  /// before privileges are dropped: the kernel loads its TLS and AEAD modules by itself only for a
  /// process that has CAP_NET_ADMIN. Once loaded they serve every process.
  static KernelTls probe();

  /// Nothing if both directions of a connection can go to the kernel, else why not.
  std::optional<KtlsFallback> refuses(RecordVersion version, CipherSuite suite) const noexcept;
  /// Some suite of TLS 1.3 works.
  bool usable() const noexcept;

  /// Keys can be replaced (Linux 6.14, or a distribution's backport). Without it a KeyUpdate of the
  /// peer ends the connection.
  bool can_rekey() const noexcept { return rekey_; }
  /// TLS_RX_EXPECT_NO_PAD decrypts records straight into the receiver's buffer, and records with
  /// padding still come out right: true on 7.3, false on 6.1 and 6.12.
  bool can_expect_no_pad() const noexcept { return expect_no_pad_; }
  /// poll(2) reports a socket as readable whose record is not whole yet (6.1 does, 6.12 does not):
  /// a receive must then not be left to the ring, which would retry it again and again and in the
  /// end give it a thread.
  bool polls_partial_records() const noexcept { return polls_partial_records_; }

  /// One line for the log and --check.
  std::string describe() const;

 private:
  static constexpr std::size_t kSuiteCount = 3;
  static constexpr std::size_t kVersionCount = 2;

  KtlsFallback reason_ = KtlsFallback::kNotProbed;  ///< meaningless if anything works
  int error_ = 0;                                   ///< errno underneath reason_
  std::array<std::array<int, kSuiteCount>, kVersionCount>
      errors_{};  ///< errno of each, 0: it works
  bool present_ = false;
  bool rekey_ = false;
  bool expect_no_pad_ = false;
  bool polls_partial_records_ = false;
};

}  // namespace sallyport::ktls
