#include "ktls/keys/suite.h"

#include <array>
#include <utility>

namespace sallyport::ktls {
namespace {

constexpr std::array<std::pair<CipherSuite, std::string_view>, 3> kNames{{
    {CipherSuite::kAes128GcmSha256, "TLS_AES_128_GCM_SHA256"},
    {CipherSuite::kAes256GcmSha384, "TLS_AES_256_GCM_SHA384"},
    {CipherSuite::kChaCha20Poly1305Sha256, "TLS_CHACHA20_POLY1305_SHA256"},
}};

}  // namespace

std::string_view name(CipherSuite suite) noexcept {
  for (const auto& [candidate, text] : kNames) {
    if (candidate == suite) return text;
  }
  return "unknown";
}

std::string_view aead_name(CipherSuite suite) noexcept {
  switch (suite) {
    case CipherSuite::kAes128GcmSha256:
      return "AES-128-GCM";
    case CipherSuite::kAes256GcmSha384:
      return "AES-256-GCM";
    case CipherSuite::kChaCha20Poly1305Sha256:
      return "ChaCha20-Poly1305";
  }
  return "unknown";
}

std::optional<CipherSuite> suite_from_code_point(std::uint16_t code_point) noexcept {
  for (const auto& [candidate, text] : kNames) {
    if (static_cast<std::uint16_t>(candidate) == code_point) return candidate;
  }
  for (const Tls12Suite& candidate : kTls12Suites) {
    if (candidate.code_point == code_point) return candidate.records;
  }
  return std::nullopt;
}

std::optional<CipherSuite> suite_from_name(std::string_view wanted) noexcept {
  for (const auto& [candidate, text] : kNames) {
    if (text == wanted) return candidate;
  }
  return std::nullopt;
}

}  // namespace sallyport::ktls
