#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "ktls/records/record.h"
#include "ktls/records/record_error.h"

namespace sallyport::ktls {

/// RFC 8446 4.6.3.
enum class KeyUpdateRequest : std::uint8_t { kUpdateNotRequested = 0, kUpdateRequested = 1 };

/// The KeyUpdate message, header and all, ready to be sealed as a handshake record.
std::array<std::byte, 5> key_update_message(KeyUpdateRequest request) noexcept;

/// A message that a peer may send after the handshake.
struct PostHandshakeMessage {
  enum class Kind : std::uint8_t {
    kKeyUpdate,
    kNewSessionTicket,
    kRenegotiation,  ///< TLS 1.2: ClientHello or, from a server, HelloRequest
  };
  Kind kind = Kind::kKeyUpdate;
  KeyUpdateRequest request = KeyUpdateRequest::kUpdateNotRequested;  ///< of kKeyUpdate
  /// Of kNewSessionTicket: its body without the four header bytes; valid until the next feed().
  std::span<const std::byte> body;
};

/// Extracts handshake messages from records: several in a record, or one over several records
/// (RFC 8446 5.1). Pure: no IO, no clock, no keys. Holds no memory while no message is unfinished.
class PostHandshakeParser {
 public:
  /// The longest message accepted; tickets of known servers are under 4 KiB.
  static constexpr std::size_t kMaxMessageSize = 1 << 14;

  /// `role`: which end this is. A server refuses NewSessionTicket.
  explicit PostHandshakeParser(Role role, RecordVersion version = RecordVersion::kTls13) noexcept
      : role_(role), version_(version) {}

  /// Takes the content of the next handshake record, which must stay alive and unchanged until
  /// next() has returned nothing or an error. Content must not be empty (kUnexpectedMessage).
  std::expected<void, RecordError> feed(std::span<const std::byte> content);

  /// The next message, or nothing once all that is complete has been returned.
  /// Errors: kUnexpectedMessage (a type that has no place here, a KeyUpdate that does not end its
  /// record), kDecodeError (wrong length), kIllegalParameter (unknown request). After an error the
  /// parser is dead.
  std::expected<std::optional<PostHandshakeMessage>, RecordError> next();

  /// An unfinished message is held: no record of another type may come before its rest.
  bool mid_message() const noexcept { return partial_ != nullptr; }

 private:
  std::expected<void, RecordError> check(std::span<const std::byte, 4> header) const;

  std::span<const std::byte> rest_;
  std::unique_ptr<std::vector<std::byte>> partial_;  ///< the unfinished message
  std::unique_ptr<std::vector<std::byte>> whole_;    ///< keeps the message just returned alive
  Role role_;
  RecordVersion version_;
};

/// The KeyUpdates that a peer may send, each of which costs deriving keys and an answer. What the
/// connection does refills two buckets:
/// - its own use of its key, and time: at most kMax;
/// - each record that it was sent, because a peer whose limit is reached may ask again with every
///   record that it reads until our KeyUpdate comes, behind all that was under way then (Java's
///   jdk.tls.keyLimits): at most kMaxUnderWay.
class KeyUpdateBudget {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::uint32_t kMax = 32;
  static constexpr std::uint64_t kBytesEach = 16384;  ///< data received that refills one update
  static constexpr std::chrono::milliseconds kTimeEach{1000};  ///< time that refills one update
  /// Full records of what Linux lets be under way, tcp_wmem and tcp_rmem: 10 MB.
  static constexpr std::uint32_t kMaxUnderWay = 1024;

  /// What the connection has done so far.
  struct Progress {
    std::uint64_t received_bytes = 0;  ///< of plaintext
    std::uint64_t sent_records = 0;    ///< under the present sending key
    Clock::time_point now{};
  };

  /// Takes one update. False: the buckets are empty, this is a flood.
  bool spend(const Progress& progress) noexcept;

 private:
  std::uint64_t counted_bytes_ = 0;
  std::uint64_t counted_records_ = 0;
  Clock::time_point counted_until_{};
  std::uint32_t left_ = kMax;
  std::uint32_t under_way_ = 0;
};

}  // namespace sallyport::ktls
