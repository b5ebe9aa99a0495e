#include "ktls/records/inbound_state.h"

#include <utility>

namespace sallyport::ktls {
namespace {

/// Warning alerts that a peer may send; one more is a refusal.
constexpr std::uint8_t kMaxWarnings = 4;

/// Records without content that a peer may send in a row, as OpenSSL and BoringSSL have it: each
/// costs a decryption, and no timeout sees one.
constexpr std::uint8_t kMaxEmptyRecords = 32;

/// How often a peer of TLS 1.2 may ask for another handshake, and be told that there is none.
constexpr std::uint8_t kMaxRenegotiations = 4;

}  // namespace

void InboundState::process(ContentType type, std::span<const std::byte> content,
                           const Moment& moment) {
  // No other record may come between the pieces of a handshake message (RFC 8446 5.1).
  if (mid_message() && type != ContentType::kHandshake) {
    return refuse(RecordFailure::kUnexpectedMessage);
  }
  switch (type) {
    case ContentType::kApplicationData:
      return process_data(content.size());
    case ContentType::kAlert:
      return process_alert(content);
    case ContentType::kHandshake:
      return process_handshake(content, moment);
    case ContentType::kChangeCipherSpec:
    case ContentType::kInvalid:
      break;
  }
  refuse(RecordFailure::kUnexpectedMessage);
}

void InboundState::end_with(End how) noexcept {
  end_ = how;
  tickets_.reset();
}

void InboundState::process_data(std::size_t bytes) noexcept {
  received_bytes_ += bytes;
  if (bytes != 0) {
    empty_records_ = 0;
    if (tickets_) tickets_.reset();
  } else if (++empty_records_ > kMaxEmptyRecords) {
    refuse(RecordFailure::kUnexpectedMessage);
  }
}

void InboundState::process_alert(std::span<const std::byte> content) noexcept {
  if (content.empty()) return refuse(RecordFailure::kUnexpectedMessage);
  if (content.size() != 2) return refuse(RecordFailure::kDecodeError);
  const auto level = static_cast<AlertLevel>(content[0]);
  const auto description = static_cast<AlertDescription>(content[1]);
  if (version_ == RecordVersion::kTls12 && level != AlertLevel::kWarning &&
      level != AlertLevel::kFatal) {
    return refuse(RecordFailure::kIllegalParameter);
  }
  // A warning lets the connection go on, whatever it warns of (RFC 5246 7.2.2).
  const bool fatal =
      version_ == RecordVersion::kTls12 ? level == AlertLevel::kFatal : is_fatal(description);
  if (description == AlertDescription::kCloseNotify) {
    end_with(End::kCloseNotify);
  } else if (fatal) {
    refuse({.failure = RecordFailure::kAlertReceived, .alert = description});
  } else if (++warnings_ > kMaxWarnings) {
    refuse(RecordFailure::kUnexpectedMessage);
  }
}

void InboundState::process_handshake(std::span<const std::byte> content, const Moment& moment) {
  if (!post_) post_ = std::make_unique<PostHandshake>(PostHandshakeParser(role_, version_));
  const auto fed = post_->messages.feed(content);
  if (!fed) return refuse(fed.error());
  while (!ended()) {
    const auto message = post_->messages.next();
    if (!message) return refuse(message.error());
    if (!*message) return;
    process_message(**message, moment);
  }
}

void InboundState::process_message(const PostHandshakeMessage& message,
                                   const Moment& moment) noexcept {
  switch (message.kind) {
    case PostHandshakeMessage::Kind::kNewSessionTicket:
      ticket_ = true;
      if (tickets_ && !tickets_->take(message.body)) tickets_.reset();
      return;
    case PostHandshakeMessage::Kind::kRenegotiation:
      if (++post_->renegotiations > kMaxRenegotiations)
        return refuse(RecordFailure::kRenegotiation);
      update_requested_ = true;
      return;
    case PostHandshakeMessage::Kind::kKeyUpdate:
      break;
  }
  if (!post_->budget.spend({received_bytes_, moment.sent_records, moment.now})) {
    return refuse(RecordFailure::kKeyUpdateFlood);
  }
  rekey_due_ = true;
  ++key_updates_;
  if (message.request == KeyUpdateRequest::kUpdateRequested) update_requested_ = true;
}

bool InboundState::take_rekey() noexcept {
  return std::exchange(rekey_due_, false);
}

bool InboundState::take_update_request() noexcept {
  return std::exchange(update_requested_, false);
}

void InboundState::refuse(RecordError error) noexcept {
  end_with(End::kFailed);
  error_ = error;
  failure_pending_ = true;
  update_requested_ = false;
}

Received InboundState::receive_failed(iouring::Errno error) noexcept {
  const RecordError reason = RecordError::from_errno(error.value);
  if (reason.failure != RecordFailure::kCancelled) {
    end_with(End::kSocketFailed);
    error_ = reason;
  }
  return {.kind = Received::Kind::kFailed, .error = reason, .chunk = {}};
}

Received InboundState::end_of_input() const noexcept {
  switch (end_) {
    case End::kCloseNotify:
      return {.kind = Received::Kind::kCloseNotify, .error = {}, .chunk = {}};
    case End::kTruncated:
      return {.kind = Received::Kind::kTruncated, .error = {}, .chunk = {}};
    case End::kFailed:
    case End::kSocketFailed:
      return {.kind = Received::Kind::kFailed, .error = error_, .chunk = {}};
    case End::kOpen:
      break;
  }
  return {};
}

std::optional<RecordFailure> InboundState::take_failure() noexcept {
  if (!std::exchange(failure_pending_, false)) return std::nullopt;
  return error_.failure;
}

}  // namespace sallyport::ktls
