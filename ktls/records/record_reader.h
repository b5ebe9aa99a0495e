#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "ktls/keys/traffic_secret.h"
#include "ktls/records/cipher_contexts.h"
#include "ktls/records/inbound_state.h"
#include "ktls/records/record.h"
#include "ktls/records/record_error.h"
#include "ktls/records/record_protection.h"

namespace sallyport::ktls {

/// The plaintext of several records that lie in one buffer, in as few spans as is cheap: large
/// contents stay where they were opened, small ones are moved down to the span before.
class PlaintextSpans {
 public:
  /// Content of at least this size is worth a span of its own.
  static constexpr std::size_t kOwnSpanFrom = 4096;

  /// `table` is room for the spans, at least one; it must outlive this.
  explicit PlaintextSpans(std::span<iovec> table) noexcept : table_(table) {}

  /// Adds content that lies, in the same buffer, behind all that was added before. The bytes
  /// between the two may be overwritten.
  void add(std::span<std::byte> content) noexcept;

  std::span<iovec> spans() const noexcept { return table_.first(count_); }
  std::size_t size() const noexcept { return size_; }  ///< bytes

 private:
  std::span<iovec> table_;
  std::size_t count_ = 0;
  std::size_t size_ = 0;
};

/// The receiving half of a connection whose records are opened in userspace, without IO: ciphertext
/// in, application data and events out. It follows the peer's KeyUpdates.
class RecordReader {
 public:
  /// `role`: which end this is. `contexts` must outlive this.
  RecordReader(CipherContexts& contexts, CipherSuite suite, const DirectionState& rx, Role role,
               RecordVersion version) noexcept
      : opener_(contexts, suite, rx, version), inbound_(role, version) {}

  /// Opens, in place, the whole records at the front of `bytes`, and adds their application data to
  /// `plaintext`. Returns how many bytes were used up; the rest, less than a record, is to be given
  /// again with more behind it. Once inbound().ended() everything is used up unread.
  /// A header that no record can have is refused before the record is whole.
  std::size_t read(std::span<std::byte> bytes, PlaintextSpans& plaintext,
                   const InboundState::Moment& moment);

  /// What the records meant, and whether that was the end.
  InboundState& inbound() noexcept { return inbound_; }
  const InboundState& inbound() const noexcept { return inbound_; }

  /// As of the bytes used up.
  DirectionState export_state() const { return opener_.export_state(); }
  CipherSuite suite() const noexcept { return opener_.suite(); }
  RecordVersion version() const noexcept { return opener_.version(); }

 private:
  void read_record(const OpenedRecord& record, PlaintextSpans& plaintext,
                   const InboundState::Moment& moment);

  RecordOpener opener_;
  InboundState inbound_;
};

}  // namespace sallyport::ktls
