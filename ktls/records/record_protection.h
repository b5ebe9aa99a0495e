#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>

#include "ktls/keys/suite.h"
#include "ktls/keys/traffic_secret.h"
#include "ktls/records/cipher_contexts.h"
#include "ktls/records/record.h"
#include "ktls/records/record_error.h"

namespace sallyport::ktls {

/// A place in a list of plaintext spans; sealing takes bytes from it.
class PlaintextCursor {
 public:
  explicit PlaintextCursor(std::span<const iovec> spans) noexcept;
  std::size_t remaining() const noexcept { return remaining_; }  ///< bytes

  /// The next contiguous run, at most `limit` bytes, never empty while bytes remain; moves on.
  std::span<const std::byte> take(std::size_t limit) noexcept;

 private:
  std::span<const iovec> spans_;
  std::size_t offset_ = 0;  ///< into spans_.front()
  std::size_t remaining_ = 0;
};

/// What sealing and opening have in common: the secret of one direction, the key and iv derived
/// from it (deriving costs microseconds), and the number of the next record. No EVP context.
class RecordProtection {
 public:
  RecordProtection(const RecordProtection&) = delete;
  RecordProtection& operator=(const RecordProtection&) = delete;

  /// Replaces secret and key by the next generation and starts at record 0: call right after the
  /// KeyUpdate was sealed or opened. Aborts in TLS 1.2.
  void next_generation() noexcept;

  RecordVersion version() const noexcept { return version_; }
  CipherSuite suite() const noexcept { return suite_; }
  /// The sequence number of the next record, which is how many there were under this key.
  std::uint64_t next_record() const noexcept { return seq_; }
  /// A copy of secret, next sequence number and key.
  DirectionState export_state() const { return {secret_, seq_, key_}; }

 protected:
  RecordProtection(CipherContexts& contexts, CipherSuite suite, const DirectionState& state,
                   RecordVersion version) noexcept;
  ~RecordProtection();

  CipherContexts& contexts_;
  std::uint64_t seq_;
  CipherContexts::Claim claim_;
  RecordKey key_;
  TrafficSecret secret_;
  CipherSuite suite_;
  RecordVersion version_;
};

/// Seals the records of one direction (RFC 8446 5.2; RFC 5246 6.2.3.3). Sans-IO. Deliberately
/// another type than RecordOpener: a transmit key never opens.
///
/// `contexts` must outlive it. Neither copies nor moves: it owns key material and a claim.
class RecordSealer final : public RecordProtection {
 public:
  /// `max_fragment`: SessionState's.
  RecordSealer(CipherContexts& contexts, CipherSuite suite, const DirectionState& state,
               RecordVersion version = RecordVersion::kTls13,
               std::uint16_t max_fragment = kMaxPlaintextSize) noexcept
      : RecordProtection(contexts, suite, state, version), max_fragment_(max_fragment) {}

  /// Seals as much of `content` as `out` has room for, as records of at most max_fragment bytes
  /// back to back, and moves the cursor on. With an empty cursor one record without content is
  /// sealed. Returns the bytes written. `out` must have room for the overhead and one byte of
  /// content, if any, and must not overlap the content. Errors: kSequenceExhausted (nothing
  /// written), kInternal. After an error the direction is dead.
  std::expected<std::size_t, RecordError> seal(ContentType type, PlaintextCursor& content,
                                               std::span<std::byte> out) noexcept;

  /// True once RFC 8446 5.5 wants a KeyUpdate sent before further data. TLS 1.2 has no KeyUpdate:
  /// there the connection must end (RFC 9325 4.4).
  bool key_update_due() const noexcept { return seq_ >= record_limit(suite_); }

  std::uint16_t max_fragment() const noexcept { return max_fragment_; }

 private:
  std::expected<void, RecordError> seal_one(ContentType type, PlaintextCursor& content,
                                            std::size_t size, std::byte* out) noexcept;

  std::uint16_t max_fragment_;
};

/// One opened record.
struct OpenedRecord {
  ContentType type = ContentType::kInvalid;  ///< in TLS 1.3 the inner type
  std::span<std::byte> content;              ///< without padding and type; may be empty
};

/// Opens the records of one direction. Sans-IO; otherwise as RecordSealer.
class RecordOpener final : public RecordProtection {
 public:
  RecordOpener(CipherContexts& contexts, CipherSuite suite, const DirectionState& state,
               RecordVersion version = RecordVersion::kTls13) noexcept
      : RecordProtection(contexts, suite, state, version) {}

  /// Opens one whole record (header to tag) in place; the content lies inside `record`.
  /// Padding is stripped in time that depends only on the record's length.
  /// Errors, after which the direction is dead and the bytes of `record` are garbage:
  /// kUnexpectedMessage (outer type other than application_data, nothing but padding inside; in
  /// TLS 1.2 no type of RFC 5246 6.2.1),
  /// kRecordOverflow (ciphertext over 2^14 + 256 or inner plaintext over 2^14 + 1 bytes; in TLS 1.2
  /// ciphertext that cannot be that of 2^14 bytes, long before the limit of RFC 5246 6.2.3),
  /// kBadRecordMac, kSequenceExhausted, kInternal.
  std::expected<OpenedRecord, RecordError> open(std::span<std::byte> record) noexcept;

  /// Checks what the header alone tells, before the rest of the record has arrived:
  /// kUnexpectedMessage and kRecordOverflow come from here.
  std::expected<RecordHeader, RecordError> check_header(
      std::span<const std::byte, kRecordHeaderSize> bytes) const noexcept;

 private:
  std::expected<void, RecordError> decrypt(std::span<std::byte> record,
                                           std::span<std::byte> inner) noexcept;
};

}  // namespace sallyport::ktls
