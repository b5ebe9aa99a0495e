#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ktls/base/hex.h"
#include "ktls/keys/traffic_secret.h"

/// Small helpers that the record tests share.
namespace sallyport::ktls::testing {

using Bytes = std::vector<std::byte>;

inline constexpr CipherSuite kSuites[] = {CipherSuite::kAes128GcmSha256,
                                          CipherSuite::kAes256GcmSha384,
                                          CipherSuite::kChaCha20Poly1305Sha256};

/// Bytes from hexadecimal digits; anything else between them is ignored.
inline Bytes from_hex(std::string_view text) {
  Bytes bytes;
  int high = -1;
  for (const char c : text) {
    const int digit = hex_digit(c);
    if (digit < 0) continue;
    if (high < 0) {
      high = digit;
    } else {
      bytes.push_back(static_cast<std::byte>(high << 4 | digit));
      high = -1;
    }
  }
  return bytes;
}

/// 0, 1, 2, ...
inline Bytes counting(std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i);
  return bytes;
}

/// The same seed gives the same bytes.
inline Bytes random_bytes(std::size_t size, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  Bytes bytes(size);
  for (std::size_t at = 0; at < size; at += sizeof(std::uint64_t)) {
    const std::uint64_t word = random();
    std::memcpy(bytes.data() + at, &word, std::min(sizeof(word), size - at));
  }
  return bytes;
}

inline iovec span_of(std::span<const std::byte> bytes) {
  return {const_cast<std::byte*>(bytes.data()), bytes.size()};
}

inline TrafficSecret secret_of(CipherSuite suite, std::uint64_t seed,
                               RecordVersion version = RecordVersion::kTls13) {
  const std::size_t size =
      version == RecordVersion::kTls13 ? hash_size(suite) : key_size(suite) + fixed_iv_size(suite);
  return TrafficSecret(random_bytes(size, seed));
}

/// A session and the peer's mirror image of it.
inline SessionState session_of(CipherSuite suite, std::uint64_t seed = 7,
                               RecordVersion version = RecordVersion::kTls13) {
  return {suite,
          {secret_of(suite, seed, version), 0},
          {secret_of(suite, seed + 1, version), 0},
          version};
}
inline SessionState mirrored(const SessionState& state) {
  return {state.suite, state.tx, state.rx, state.version};
}

/// Every way to protect records.
struct Protection {
  RecordVersion version;
  CipherSuite suite;
};
inline constexpr Protection kProtections[] = {
    {RecordVersion::kTls13, CipherSuite::kAes128GcmSha256},
    {RecordVersion::kTls13, CipherSuite::kAes256GcmSha384},
    {RecordVersion::kTls13, CipherSuite::kChaCha20Poly1305Sha256},
    {RecordVersion::kTls12, CipherSuite::kAes128GcmSha256},
    {RecordVersion::kTls12, CipherSuite::kAes256GcmSha384},
    {RecordVersion::kTls12, CipherSuite::kChaCha20Poly1305Sha256},
};
/// For the names of tests: the version, and the suite that stands for the AEAD.
inline std::string to_string(const Protection& protection) {
  return (protection.version == RecordVersion::kTls13 ? "Tls13_" : "Tls12_") +
         std::string(name(protection.suite)).substr(4);
}

inline void append(Bytes& to, std::span<const std::byte> more) {
  to.insert(to.end(), more.begin(), more.end());
}

}  // namespace sallyport::ktls::testing
