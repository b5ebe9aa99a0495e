#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "ktls/keys/suite.h"

namespace sallyport::ktls {

/// The secret that the record keys of one direction are derived from: at most 48 bytes, held in
/// place, cleansed when it dies. In TLS 1.3 the application traffic secret (RFC 8446 7.1), in TLS
/// 1.2 the direction's part of the key block, key and then iv (RFC 5246 6.3). A moved-from secret
/// is empty.
class TrafficSecret {
 public:
  TrafficSecret() noexcept = default;
  /// `bytes` is copied. More than kMaxHashSize bytes is a broken invariant and aborts.
  explicit TrafficSecret(std::span<const std::byte> bytes) noexcept;
  TrafficSecret(const TrafficSecret&) noexcept = default;
  TrafficSecret& operator=(const TrafficSecret&) noexcept = default;
  TrafficSecret(TrafficSecret&& other) noexcept;
  TrafficSecret& operator=(TrafficSecret&& other) noexcept;
  ~TrafficSecret();

  std::span<const std::byte> bytes() const noexcept { return {bytes_.data(), size_}; }
  bool empty() const noexcept { return size_ == 0; }

 private:
  std::array<std::byte, kMaxHashSize> bytes_{};
  std::uint8_t size_ = 0;
};

/// The key and iv that seal or open the records of one direction (RFC 8446 7.3, RFC 5246 6.3).
/// Cleansed when it dies.
struct RecordKey {
  std::array<std::byte, kMaxKeySize> key{};  ///< the first key_size(suite) bytes count
  /// Xored with the sequence number into the nonce, with AES-GCM in TLS 1.2 as well: there zeros
  /// follow the fixed_iv_size() bytes, and the sequence number is the explicit part.
  std::array<std::byte, kIvSize> iv{};

  RecordKey() noexcept = default;
  RecordKey(const RecordKey&) noexcept = default;
  RecordKey& operator=(const RecordKey&) noexcept = default;
  ~RecordKey();
};

/// key and iv of a traffic secret (RFC 8446 7.3). Costs two HMACs, 1 to 2 µs; in TLS 1.2 it only
/// cuts the secret, which aborts if it is not of the suite's size.
RecordKey derive_key(CipherSuite suite, const TrafficSecret& secret,
                     RecordVersion version = RecordVersion::kTls13) noexcept;

/// The secret of the next generation, after a KeyUpdate (RFC 8446 7.2). TLS 1.2 has none.
TrafficSecret next_secret(CipherSuite suite, const TrafficSecret& secret) noexcept;

/// One direction as a value, for a hand-off to the kernel or to another process. Where the record
/// key is derived already it comes along: always that of the secret, since neither is set alone.
class DirectionState {
 public:
  DirectionState() noexcept = default;
  explicit DirectionState(TrafficSecret secret) noexcept : secret_(std::move(secret)) {}
  DirectionState(TrafficSecret secret, std::uint64_t next_record) noexcept
      : rec_seq(next_record), secret_(std::move(secret)) {}
  /// `key` is the one of the secret.
  DirectionState(TrafficSecret secret, std::uint64_t next_record, const RecordKey& key) noexcept
      : rec_seq(next_record), secret_(std::move(secret)), key_(key) {}
  DirectionState(const DirectionState&) noexcept = default;
  DirectionState& operator=(const DirectionState&) noexcept = default;
  DirectionState(DirectionState&& other) noexcept
      : rec_seq(other.rec_seq),
        secret_(std::move(other.secret_)),
        key_(std::exchange(other.key_, std::nullopt)) {}
  DirectionState& operator=(DirectionState&& other) noexcept;
  ~DirectionState() = default;

  const TrafficSecret& secret() const noexcept { return secret_; }
  /// The record key: derived by derive_key(), unless it is there.
  RecordKey key(CipherSuite suite, RecordVersion version = RecordVersion::kTls13) const noexcept;
  /// Derives the key, so that copies need not.
  void keep_key(CipherSuite suite, RecordVersion version = RecordVersion::kTls13) noexcept {
    key_ = key(suite, version);
  }
  bool has_key() const noexcept { return key_.has_value(); }

  std::uint64_t rec_seq = 0;  ///< sequence number of the *next* record under this secret

 private:
  TrafficSecret secret_;
  std::optional<RecordKey> key_;
};

/// Both directions of a connection as seen from this end: rx opens what the peer sealed, tx seals.
/// Sequence numbers count the records that were already sent (tickets) and received under the
/// secrets.
struct SessionState {
  CipherSuite suite = CipherSuite::kAes128GcmSha256;
  DirectionState rx;
  DirectionState tx;
  RecordVersion version = RecordVersion::kTls13;
  /// The most bytes of content that a record to the peer may have: 2^14, or what the peer asked for
  /// by max_fragment_length (RFC 6066 4).
  std::uint16_t max_fragment = 1 << 14;
};

}  // namespace sallyport::ktls
