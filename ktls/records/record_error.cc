#include "ktls/records/record_error.h"

#include <cerrno>

namespace sallyport::ktls {

std::string_view to_string(RecordFailure failure) noexcept {
  switch (failure) {
    case RecordFailure::kReset:
      return "reset";
    case RecordFailure::kPipe:
      return "pipe";
    case RecordFailure::kSocket:
      return "socket";
    case RecordFailure::kCancelled:
      return "cancelled";
    case RecordFailure::kBadRecordMac:
      return "bad_record_mac";
    case RecordFailure::kRecordOverflow:
      return "record_overflow";
    case RecordFailure::kUnexpectedMessage:
      return "unexpected_message";
    case RecordFailure::kRenegotiation:
      return "renegotiation";
    case RecordFailure::kDecodeError:
      return "decode_error";
    case RecordFailure::kIllegalParameter:
      return "illegal_parameter";
    case RecordFailure::kAlertReceived:
      return "alert_received";
    case RecordFailure::kKeyUpdateFlood:
      return "keyupdate_flood";
    case RecordFailure::kKeyUpdateUnsupported:
      return "keyupdate_unsupported";
    case RecordFailure::kSequenceExhausted:
      return "sequence_exhausted";
    case RecordFailure::kInternal:
      return "internal";
  }
  return "unknown";
}

RecordError RecordError::from_errno(int value) noexcept {
  RecordFailure failure = RecordFailure::kSocket;
  switch (value) {
    case ECONNRESET:
    case ECONNABORTED:
    case ETIMEDOUT:  // keepalive or retransmission gave the peer up
    case EHOSTUNREACH:
    case ENETUNREACH:
      failure = RecordFailure::kReset;
      break;
    case EPIPE:
    case ESHUTDOWN:
      failure = RecordFailure::kPipe;
      break;
    case ECANCELED:
      failure = RecordFailure::kCancelled;
      break;
    default:
      break;
  }
  return {.failure = failure, .sys_errno = value};
}

std::optional<AlertDescription> alert_for(RecordFailure failure) noexcept {
  switch (failure) {
    case RecordFailure::kBadRecordMac:
      return AlertDescription::kBadRecordMac;
    case RecordFailure::kRecordOverflow:
      return AlertDescription::kRecordOverflow;
    case RecordFailure::kUnexpectedMessage:
    case RecordFailure::kRenegotiation:  // no_renegotiation is always a warning (RFC 5246 7.2.2)
    case RecordFailure::kKeyUpdateFlood:
      return AlertDescription::kUnexpectedMessage;
    case RecordFailure::kDecodeError:
      return AlertDescription::kDecodeError;
    case RecordFailure::kIllegalParameter:
      return AlertDescription::kIllegalParameter;
    case RecordFailure::kKeyUpdateUnsupported:
    case RecordFailure::kSequenceExhausted:
    case RecordFailure::kInternal:
      return AlertDescription::kInternalError;
    case RecordFailure::kReset:
    case RecordFailure::kPipe:
    case RecordFailure::kSocket:
    case RecordFailure::kCancelled:
    case RecordFailure::kAlertReceived:
      return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace sallyport::ktls
