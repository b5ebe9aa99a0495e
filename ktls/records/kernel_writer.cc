#include "ktls/records/kernel_writer.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "iouring/deadline.h"
#include "ktls/records/crypto_info.h"
#include "ktls/records/kernel_tls_options.h"
#include "ktls/records/post_handshake.h"
#include "ktls/records/tcp_stream.h"
#include "ktls/records/typed_record.h"

namespace sallyport::ktls {

using iouring::FileDescriptor;
using iouring::Result;
using iouring::Task;

namespace {

/// How often to check whether the kernel has handed its last record to TCP, which it does from a
/// work queue soon after the socket has become writable.
constexpr std::chrono::milliseconds kCheckInterval{1};

std::span<const std::byte> bytes_of(const iovec& span) noexcept {
  return {static_cast<const std::byte*>(span.iov_base), span.iov_len};
}

/// Removes `sent` bytes from the front, and empty spans there.
std::span<iovec> advance(std::span<iovec> spans, std::size_t sent) noexcept {
  while (!spans.empty() && sent >= spans.front().iov_len) {
    sent -= spans.front().iov_len;
    spans = spans.subspan(1);
  }
  if (sent != 0) {
    iovec& cut = spans.front();
    cut = {static_cast<std::byte*>(cut.iov_base) + sent, cut.iov_len - sent};
  }
  return spans;
}

}  // namespace

/// Counts the records of one call: the kernel makes as few as possible, and of a limited size one.
void KernelWriter::count(std::size_t content) noexcept {
  records_ += (content + kMaxPlaintextSize - 1) / kMaxPlaintextSize;
  stream_end_ += sealed_size(content, record_overhead(version_, suite_));
}

/// Whether `error` is of input that is not wanted any more. Once it is cleared, the send can be
/// repeated.
bool KernelWriter::ignore_input_error(iouring::Errno error) noexcept {
  const bool of_input = error.value == EBADMSG || error.value == EINVAL || error.value == EMSGSIZE;
  return of_input && std::exchange(input_error_expected_, false);
}

std::unexpected<RecordError> KernelWriter::failed(iouring::Errno error) noexcept {
  RecordError reason = RecordError::from_errno(error.value);
  if (reason.failure == RecordFailure::kCancelled) {
    state_ = State::kTorn;
  } else if (error.value == EBADMSG) {
    // The receiving half met a record that does not authenticate; its alert will be queued.
    reason.failure = RecordFailure::kBadRecordMac;
    state_ = State::kTorn;
  } else {
    state_ = State::kDead;
  }
  return std::unexpected(reason);
}

// ---- control records

void KernelWriter::queue_answer() noexcept {
  if (answer_queued_ || state_ != State::kOpen) return;
  answer_queued_ = true;
  flush_due_ = true;
}

void KernelWriter::queue_alert(AlertLevel level, AlertDescription description) noexcept {
  const bool allowed =
      state_ == State::kOpen || (state_ == State::kTorn && level == AlertLevel::kFatal);
  if (!allowed || alert_queued_) return;
  alert_level_ = level;
  alert_ = description;
  alert_queued_ = true;
  flush_due_ = true;
  state_ = State::kEnded;
}

void KernelWriter::end_after(RecordFailure failure) noexcept {
  const std::optional<AlertDescription> alert = alert_for(failure);
  if (alert) queue_alert(AlertLevel::kFatal, *alert);
  if (state_ == State::kOpen) state_ = State::kEnded;
}

/// Sends all of `content` or nothing: the kernel does not cut a record that fits.
Task<KernelWriter::SendResult> KernelWriter::send_control(ContentType type,
                                                          std::span<const std::byte> content,
                                                          int flags) {
  const TypedRecord record(type, content);
  Result<std::size_t> sent = co_await socket_.sendmsg(record.message(), flags);
  if (!sent && ignore_input_error(sent.error())) {
    [[maybe_unused]] Result<> cleared = co_await socket_.clear_error();
    sent = co_await socket_.sendmsg(record.message(), flags);
  }
  if (!sent) co_return std::unexpected(RecordError::from_errno(sent.error().value));
  count(content.size());
  co_return SendResult{};
}

Task<KernelWriter::SendResult> KernelWriter::send_alert_record(AlertLevel level,
                                                               AlertDescription description,
                                                               int flags) {
  const std::byte alert[] = {static_cast<std::byte>(level), static_cast<std::byte>(description)};
  const SendResult sent = co_await send_control(ContentType::kAlert, alert, flags);
  co_return sent;
}

/// Sends KeyUpdate under the old key, and gives the kernel the next one.
Task<KernelWriter::SendResult> KernelWriter::rekey(int flags) {
  const auto message = key_update_message(KeyUpdateRequest::kUpdateNotRequested);
  const SendResult sent = co_await send_control(ContentType::kHandshake, message, flags);
  if (!sent) co_return sent;
  secret_ = next_secret(suite_, secret_);
  records_ = 0;
  const CryptoInfo info(RecordVersion::kTls13, suite_, derive_key(suite_, secret_), 0);
  Result<> set = co_await socket_.set_option(SOL_TLS, TLS_TX, info.bytes());
  if (!set) {
    state_ = State::kDead;
    co_return std::unexpected(
        RecordError{.failure = RecordFailure::kInternal, .sys_errno = set.error().value});
  }
  ++counters_.key_updates_sent;
  co_return SendResult{};
}

/// Sends the queued records; the caller holds the lock. What could not be sent yet stays queued.
Task<KernelWriter::SendResult> KernelWriter::flush(int flags) {
  SendResult flushed;
  if (answer_queued_ && version_ == RecordVersion::kTls12) {
    flushed =
        co_await send_alert_record(AlertLevel::kWarning, AlertDescription::kNoRenegotiation, flags);
  } else if (answer_queued_) {
    flushed = co_await rekey(flags);
  }
  if (flushed) answer_queued_ = false;
  if (flushed && alert_queued_) {
    flushed = co_await send_alert_record(alert_level_, alert_, flags);
    if (flushed) alert_queued_ = false;
  }
  if (flushed || flushed.error().sys_errno == EAGAIN ||
      flushed.error().failure == RecordFailure::kCancelled) {
    co_return flushed;
  }
  state_ = State::kDead;
  co_return flushed;
}

Task<void> KernelWriter::try_flush() {
  flush_due_ = false;
  if (!may_flush() || !write_lock_.try_acquire()) co_return;
  [[maybe_unused]] const SendResult flushed = co_await flush(MSG_DONTWAIT);
  write_lock_.release();
}

// ---- data

/// Sends what has to come before more data: queued records, and a KeyUpdate if the key is used up.
Task<KernelWriter::SendResult> KernelWriter::prepare_for_data() {
  // Behind the last record no data may come, so the flush is not waited for.
  const bool open = state_ == State::kOpen;
  SendResult made;
  if (may_flush()) made = co_await flush(open ? 0 : MSG_DONTWAIT);
  if (!made && made.error().sys_errno != EAGAIN) co_return made;
  if (!open) co_return refuse(RecordFailure::kPipe);
  if (!key_update_due()) co_return made;
  if (can_rekey_) {
    made = co_await rekey(0);
    co_return made;
  }
  // RFC 8446 5.5 forbids another record of data under this key, and this kernel takes no other key,
  // or TLS 1.2 has none.
  queue_alert(AlertLevel::kFatal, AlertDescription::kInternalError);
  made = co_await flush(0);
  co_return refuse(RecordFailure::kSequenceExhausted);
}

Task<KernelWriter::SendResult> KernelWriter::send(Chunk data) {
  const std::size_t size = data.size();
  if (size == 0) co_return SendResult{};
  co_await write_lock_.acquire();
  SendResult result;
  std::span<iovec> rest = advance(data.data(), 0);
  while (!rest.empty()) {
    if (state_ != State::kOpen || has_queued() || key_update_due()) {
      result = co_await prepare_for_data();
      if (!result) break;
    }
    // A lease is sent at once or given back: it must not wait for this peer.
    const int flags = data.holds_lease() ? MSG_DONTWAIT : 0;
    Result<std::size_t> sent = std::size_t{0};
    if (limited()) {  // the kernel makes full records, but none out of two sends
      const std::span bytes = bytes_of(rest.front());
      const std::size_t most = max_fragment_;
      sent = co_await socket_.send(bytes.first(std::min(bytes.size(), most)), flags);
    } else if (rest.size() == 1) {
      sent = co_await socket_.send(bytes_of(rest.front()), flags);
    } else {
      msghdr message{};
      message.msg_iov = rest.data();
      message.msg_iovlen = rest.size();
      sent = co_await socket_.sendmsg(message, flags);
    }
    if (sent) {
      count(*sent);
      rest = advance(rest, *sent);
    } else if (sent.error().value == EAGAIN && data.holds_lease()) {
      data.give_back_lease();
      rest = data.data();
    } else if (ignore_input_error(sent.error())) {
      [[maybe_unused]] Result<> cleared = co_await socket_.clear_error();
    } else {
      result = failed(sent.error());
      break;
    }
  }
  // The data was cut short: what would come next is not its continuation.
  if (!result && state_ == State::kOpen) state_ = State::kTorn;
  if (result) counters_.sent_bytes += size;
  data = {};
  if (may_flush()) {
    // Behind data that failed the flush is not waited for: the socket may stay full.
    const SendResult flushed = co_await flush(result ? 0 : MSG_DONTWAIT);
    if (result && !flushed) result = flushed;
  }
  write_lock_.release();
  co_return result;
}

// ---- the end

Task<KernelWriter::SendResult> KernelWriter::send_alert(AlertLevel level,
                                                        AlertDescription description) {
  co_await write_lock_.acquire();
  queue_alert(level, description);
  SendResult result;
  if (state_ == State::kTorn || state_ == State::kDead) {
    result = refuse(RecordFailure::kPipe);
  } else if (has_queued()) {
    result = co_await flush(0);
  }
  write_lock_.release();
  co_return result;
}

/// Waits until TCP was given every byte. A send returns as soon as the kernel has sealed its
/// records. A record for which TCP had no room waits for a work queue, and shutdown(2) and close(2)
/// drop it, or its second half: measured on 6.12 and 7.3 with a full socket.
Task<KernelWriter::SendResult> KernelWriter::wait_for_tcp(int descriptor) {
  while (true) {
    const std::optional<std::uint64_t> given = bytes_given_to_tcp(descriptor);
    if (!given || *given >= stream_end_) co_return SendResult{};  // closed, or given everything
    Result<> writable = co_await socket_.ready(POLLOUT);
    if (!writable) co_return std::unexpected(RecordError::from_errno(writable.error().value));
    Result<> slept = co_await iouring::sleep_for(socket_.ring(), kCheckInterval);
    if (!slept) co_return std::unexpected(RecordError::from_errno(slept.error().value));
  }
}

Task<KernelWriter::SendResult> KernelWriter::close() {
  const SendResult sent = co_await send_alert(AlertLevel::kWarning, AlertDescription::kCloseNotify);
  SendResult shut_down = co_await shut();
  co_return sent ? shut_down : sent;
}

Task<KernelWriter::SendResult> KernelWriter::shut() {
  FileDescriptor installed;
  int descriptor = socket_.descriptor();
  if (descriptor < 0) {
    Result<FileDescriptor> brought = co_await socket_.install();
    // Without a descriptor TCP cannot be asked; then the rare loss is accepted.
    if (brought) installed = std::move(*brought);
    descriptor = installed.get();
  }
  SendResult sent;
  if (state_ != State::kDead && descriptor >= 0) sent = co_await wait_for_tcp(descriptor);
  Result<> shut;
  if (installed) {
    if (::shutdown(installed.get(), SHUT_WR) != 0) shut = iouring::failure(errno);
  } else {
    shut = co_await socket_.shutdown_write();
  }
  if (sent && !shut) co_return std::unexpected(RecordError::from_errno(shut.error().value));
  co_return sent;
}

}  // namespace sallyport::ktls
