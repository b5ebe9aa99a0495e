#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string_view>

#include "ktls/records/record.h"

namespace sallyport::ktls {

/// Every way in which a record layer can fail; peers, kernels and networks cause these.
enum class RecordFailure : std::uint8_t {
  kReset,           ///< ECONNRESET and the like: the peer or the path is gone
  kPipe,            ///< EPIPE: sending after either end shut the stream
  kSocket,          ///< any other errno of the socket
  kCancelled,       ///< the awaiting scope was cancelled; the layer is still usable for receiving
  kBadRecordMac,    ///< a record did not authenticate
  kRecordOverflow,  ///< a record longer than RFC 8446 5.2 allows
  kUnexpectedMessage,     ///< a record or message that has no place after the handshake
  kRenegotiation,         ///< TLS 1.2: the peer asks for another handshake again and again
  kDecodeError,           ///< a message of the wrong length
  kIllegalParameter,      ///< a field with a forbidden value
  kAlertReceived,         ///< the peer ended the connection with a fatal alert
  kKeyUpdateFlood,        ///< more KeyUpdates than data or time justify
  kKeyUpdateUnsupported,  ///< KeyUpdate arrived, and this record model cannot re-key
  kSequenceExhausted,     ///< sequence numbers would wrap (RFC 8446 5.3)
  kInternal,              ///< libcrypto failed where it must not
};

std::string_view to_string(RecordFailure failure) noexcept;

struct RecordError {
  RecordFailure failure = RecordFailure::kInternal;
  AlertDescription alert{};  ///< of kAlertReceived: what the peer said
  int sys_errno = 0;         ///< of kReset, kPipe, kSocket, kCancelled: the errno underneath

  /// Sorts an errno of a socket operation.
  static RecordError from_errno(int value) noexcept;
};

/// A failure without an errno, for a function that returns one.
inline std::unexpected<RecordError> refuse(RecordFailure failure) noexcept {
  return std::unexpected(RecordError{.failure = failure});
}

/// The alert that tells the peer of `failure`; nothing where none can or must be sent.
std::optional<AlertDescription> alert_for(RecordFailure failure) noexcept;

}  // namespace sallyport::ktls
