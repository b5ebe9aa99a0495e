#include "ktls/records/record_writer.h"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "ktls/records/post_handshake.h"

namespace sallyport::ktls {

using iouring::Block;
using iouring::Result;
using iouring::Task;

void RecordWriter::queue(ContentType type, std::span<const std::byte> message) {
  const iovec span{const_cast<std::byte*>(message.data()), message.size()};
  PlaintextCursor content{std::span(&span, 1)};
  const std::size_t before = queued_.size();
  queued_.resize(before + message.size() + record_overhead(sealer_.version(), sealer_.suite()));
  const auto sealed = sealer_.seal(type, content, std::span(queued_).subspan(before));
  if (sealed) return;
  queued_.resize(before);
  state_ = State::kTorn;
}

/// Queues KeyUpdate under the old key; everything after it is sealed under the next.
void RecordWriter::rekey() {
  queue(ContentType::kHandshake, key_update_message(KeyUpdateRequest::kUpdateNotRequested));
  sealer_.next_generation();
  ++counters_.key_updates_sent;
}

void RecordWriter::queue_alert_record(AlertLevel level, AlertDescription description) {
  const std::byte alert[] = {static_cast<std::byte>(level), static_cast<std::byte>(description)};
  queue(ContentType::kAlert, alert);
}

void RecordWriter::queue_answer() {
  if (answer_queued_ || state_ != State::kOpen) return;
  if (sealer_.version() == RecordVersion::kTls12) {
    queue_alert_record(AlertLevel::kWarning, AlertDescription::kNoRenegotiation);
  } else {
    rekey();
  }
  answer_queued_ = true;
  flush_due_ = true;
}

void RecordWriter::queue_alert(AlertLevel level, AlertDescription description) {
  if (state_ != State::kOpen) return;
  queue_alert_record(level, description);
  if (state_ == State::kOpen) state_ = State::kEnded;
  flush_due_ = true;
}

void RecordWriter::end_after(RecordFailure failure) {
  const std::optional<AlertDescription> alert = alert_for(failure);
  if (alert) queue_alert(AlertLevel::kFatal, *alert);
  if (state_ == State::kOpen) state_ = State::kEnded;
}

std::unexpected<RecordError> RecordWriter::torn(RecordError error) noexcept {
  state_ = State::kTorn;
  queued_ = {};
  return std::unexpected(error);
}

Task<void> RecordWriter::try_flush() {
  flush_due_ = false;
  if (queued_.empty() || state_ == State::kTorn || !write_lock_.try_acquire()) co_return;
  const std::vector<std::byte> records = std::exchange(queued_, {});
  const bool answer = std::exchange(answer_queued_, false);
  Result<std::size_t> sent = co_await socket_.send(records, MSG_DONTWAIT);
  if (sent && *sent < records.size()) {
    Result<> rest = co_await socket_.send_all(std::span(records).subspan(*sent));
    if (!rest) torn(RecordError::from_errno(rest.error().value));
  } else if (!sent && (sent.error().value == EAGAIN || sent.error().value == ECANCELED)) {
    queued_ = records;  // not a byte of them was sent
    answer_queued_ = answer;
  } else if (!sent) {
    torn(RecordError::from_errno(sent.error().value));
  }
  write_lock_.release();
}

/// Writes the queued records; the caller holds the lock. `flags` as of send_all().
Task<RecordWriter::SendResult> RecordWriter::flush(int flags) {
  while (!queued_.empty()) {
    const std::vector<std::byte> records = std::exchange(queued_, {});
    answer_queued_ = false;
    Result<> sent = co_await socket_.send_all(records, flags);
    if (!sent) co_return torn(RecordError::from_errno(sent.error().value));
  }
  co_return SendResult{};
}

/// Fills `out` with the queued records, a KeyUpdate if the key is used up, and data.
std::expected<std::size_t, RecordError> RecordWriter::seal_next(PlaintextCursor& content,
                                                                std::span<std::byte> out) {
  if (sealer_.key_update_due()) rekey();
  std::ranges::copy(queued_, out.begin());
  const std::size_t control = queued_.size();
  if (control != 0) queued_ = {};
  answer_queued_ = false;
  const auto sealed = sealer_.seal(ContentType::kApplicationData, content, out.subspan(control));
  if (!sealed) return std::unexpected(sealed.error());
  return control + *sealed;
}

Task<RecordWriter::SendResult> RecordWriter::send(Chunk data) {
  const std::size_t size = data.size();
  if (size == 0) co_return SendResult{};
  co_await write_lock_.acquire();
  SendResult result;
  PlaintextCursor content{data.data()};
  Block block = blocks_.acquire();
  while (result && content.remaining() != 0) {
    if (state_ != State::kOpen) {
      result = refuse(RecordFailure::kPipe);
      break;
    }
    if (key_exhausted()) {  // and TLS 1.2 has no other: RFC 9325 4.4
      queue_alert(AlertLevel::kFatal, AlertDescription::kInternalError);
      result = refuse(RecordFailure::kSequenceExhausted);
      break;
    }
    const auto sealed = seal_next(content, block.bytes());
    if (!sealed) {
      result = torn(sealed.error());
      break;
    }
    // The plaintext is not needed any more, and its buffer must not wait for a slow peer.
    if (content.remaining() == 0) data = {};
    Result<> sent = co_await socket_.send_all(block.bytes().first(*sealed));
    if (!sent) result = torn(RecordError::from_errno(sent.error().value));
  }
  if (result) counters_.sent_bytes += size;
  if (!queued_.empty() && state_ != State::kTorn) {
    const SendResult flushed = co_await flush();
    if (result && !flushed) result = flushed;
  }
  write_lock_.release();
  co_return result;
}

/// Nothing may be sent behind this record.
Task<RecordWriter::SendResult> RecordWriter::send_alert(AlertLevel level,
                                                        AlertDescription description) {
  co_await write_lock_.acquire();
  queue_alert(level, description);
  SendResult result;
  if (state_ == State::kTorn) {
    result = refuse(RecordFailure::kPipe);
  } else {
    result = co_await flush(MSG_MORE);
  }
  write_lock_.release();
  co_return result;
}

}  // namespace sallyport::ktls
