#include "ktls/records/record_writer.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "ktls/records/post_handshake.h"

namespace sallyport::ktls {

using iouring::Block;
using iouring::Result;
using iouring::Task;

void RecordOutlet::owe(ContentType type, std::span<const std::byte> message) {
  const iovec span{const_cast<std::byte*>(message.data()), message.size()};
  PlaintextCursor content{std::span(&span, 1)};
  const std::size_t before = owed_.size();
  owed_.resize(before + message.size() + record_overhead(sealer_.version(), sealer_.suite()));
  const auto sealed = sealer_.seal(type, content, std::span(owed_).subspan(before));
  if (sealed) return;
  owed_.resize(before);
  state_ = State::kTorn;
}

/// KeyUpdate under the old key, everything after it under the next.
void RecordOutlet::turn_key() {
  owe(ContentType::kHandshake, key_update_message(KeyUpdateRequest::kUpdateNotRequested));
  sealer_.next_generation();
  ++counters_.key_updates_sent;
}

void RecordOutlet::owe_key_update() {
  if (answer_owed_ || state_ != State::kOpen) return;
  turn_key();
  answer_owed_ = true;
  offer_due_ = true;
}

void RecordOutlet::owe_alert(AlertLevel level, AlertDescription description) {
  if (state_ != State::kOpen) return;
  const std::byte alert[] = {static_cast<std::byte>(level), static_cast<std::byte>(description)};
  owe(ContentType::kAlert, alert);
  abandon();
  offer_due_ = true;
}

void RecordOutlet::abandon() noexcept {
  if (state_ == State::kOpen) state_ = State::kEnded;
}

std::unexpected<RecordError> RecordOutlet::torn(RecordError error) noexcept {
  state_ = State::kTorn;
  owed_ = {};
  return std::unexpected(error);
}

Task<void> RecordOutlet::offer() {
  offer_due_ = false;
  if (owed_.empty() || state_ == State::kTorn || !turn_.try_mine()) co_return;
  const std::vector<std::byte> records = std::exchange(owed_, {});
  const bool answer = std::exchange(answer_owed_, false);
  Result<std::size_t> sent = co_await socket_.send(records, MSG_DONTWAIT);
  if (sent && *sent < records.size()) {
    Result<> rest = co_await socket_.send_all(std::span(records).subspan(*sent));
    if (!rest) torn(RecordError::from_errno(rest.error().value));
  } else if (!sent && (sent.error().value == EAGAIN || sent.error().value == ECANCELED)) {
    owed_ = records;  // not a byte of it is out
    answer_owed_ = answer;
  } else if (!sent) {
    torn(RecordError::from_errno(sent.error().value));
  }
  turn_.end();
}

/// Writes out what is owed, in the caller's turn. `flags` as of send_all().
Task<RecordOutlet::SendResult> RecordOutlet::write_owed(int flags) {
  while (!owed_.empty()) {
    const std::vector<std::byte> records = std::exchange(owed_, {});
    answer_owed_ = false;
    Result<> sent = co_await socket_.send_all(records, flags);
    if (!sent) co_return torn(RecordError::from_errno(sent.error().value));
  }
  co_return SendResult{};
}

/// Fills `out` with what is owed, a KeyUpdate if our key has done its work, and data.
std::expected<std::size_t, RecordError> RecordOutlet::seal_next(PlaintextCursor& content,
                                                                std::span<std::byte> out) {
  if (sealer_.key_update_due()) turn_key();
  std::ranges::copy(owed_, out.begin());
  const std::size_t control = owed_.size();
  if (control != 0) owed_ = {};
  answer_owed_ = false;
  const auto sealed = sealer_.seal(ContentType::kApplicationData, content, out.subspan(control));
  if (!sealed) return std::unexpected(sealed.error());
  return control + *sealed;
}

Task<RecordOutlet::SendResult> RecordOutlet::send(Chunk data) {
  const std::size_t size = data.size();
  if (size == 0) co_return SendResult{};
  co_await turn_.mine();
  SendResult result;
  PlaintextCursor content{data.data()};
  Block block = blocks_.acquire();
  while (result && content.remaining() != 0) {
    if (state_ != State::kOpen) {
      result = std::unexpected(RecordError{.failure = RecordFailure::kPipe});
      break;
    }
    if (key_is_spent()) {  // and TLS 1.2 has no other: RFC 9325 4.4
      owe_alert(AlertLevel::kFatal, AlertDescription::kInternalError);
      result = std::unexpected(RecordError{.failure = RecordFailure::kSequenceExhausted});
      break;
    }
    const auto sealed = seal_next(content, block.bytes());
    if (!sealed) {
      result = torn(sealed.error());
      break;
    }
    // The plaintext is not needed any more: its buffer must not wait for a slow peer.
    if (content.remaining() == 0) data = {};
    Result<> sent = co_await socket_.send_all(block.bytes().first(*sealed));
    if (!sent) result = torn(RecordError::from_errno(sent.error().value));
  }
  if (result) counters_.sent_bytes += size;
  if (!owed_.empty() && state_ != State::kTorn) {
    const SendResult paid = co_await write_owed();
    if (result && !paid) result = paid;
  }
  turn_.end();
  co_return result;
}

/// The last record that we send.
Task<RecordOutlet::SendResult> RecordOutlet::end(AlertLevel level, AlertDescription description) {
  co_await turn_.mine();
  owe_alert(level, description);
  SendResult result;
  if (state_ == State::kTorn) {
    result = std::unexpected(RecordError{.failure = RecordFailure::kPipe});
  } else {
    result = co_await write_owed(MSG_MORE);
  }
  turn_.end();
  co_return result;
}

}  // namespace sallyport::ktls
