#include "ktls/record_intake.h"

#include <cstring>
#include <utility>

namespace sallyport::ktls {
namespace {

/// user_canceled alerts taken before we stop believing that a close_notify will follow.
constexpr std::uint8_t kMostWarnings = 4;

}  // namespace

void PlaintextSpans::add(std::span<std::byte> content) noexcept {
  if (content.empty()) return;
  size_ += content.size();
  const bool own_span = content.size() >= kOwnSpanFrom && count_ < table_.size();
  if (count_ == 0 || own_span) {
    table_[count_++] = {content.data(), content.size()};
    return;
  }
  iovec& last = table_[count_ - 1];
  std::memmove(static_cast<std::byte*>(last.iov_base) + last.iov_len, content.data(),
               content.size());
  last.iov_len += content.size();
}

std::size_t RecordIntake::record_size(std::span<const std::byte> bytes) noexcept {
  if (bytes.size() < kRecordHeaderSize) return 0;
  return kRecordHeaderSize + RecordHeader::parse(bytes.first<kRecordHeaderSize>()).length;
}

std::size_t RecordIntake::take(std::span<std::byte> bytes, PlaintextSpans& plaintext,
                               KeyUpdateBudget::Clock::time_point now) {
  std::span<std::byte> rest = bytes;
  while (end_ == End::kOpen && rest.size() >= kRecordHeaderSize) {
    const auto header = RecordOpener::check_header(rest.first<kRecordHeaderSize>());
    if (!header) {
      fail(header.error());
      break;
    }
    const std::size_t size = kRecordHeaderSize + header->length;
    if (rest.size() < size) break;
    const auto opened = opener_.open(rest.first(size));
    rest = rest.subspan(size);
    if (opened) {
      take_record(*opened, plaintext, now);
    } else {
      fail(opened.error());
    }
  }
  return end_ == End::kOpen ? bytes.size() - rest.size() : bytes.size();
}

void RecordIntake::take_record(const OpenedRecord& record, PlaintextSpans& plaintext,
                               KeyUpdateBudget::Clock::time_point now) {
  // No other record may come between the pieces of a handshake message (RFC 8446 5.1).
  if (messages_.mid_message() && record.type != ContentType::kHandshake) {
    return fail(RecordFailure::kUnexpectedMessage);
  }
  switch (record.type) {
    case ContentType::kApplicationData:
      received_bytes_ += record.content.size();
      return plaintext.add(record.content);
    case ContentType::kAlert:
      return take_alert(record.content);
    case ContentType::kHandshake:
      return take_handshake(record.content, now);
    case ContentType::kChangeCipherSpec:
    case ContentType::kInvalid:
      break;
  }
  fail(RecordFailure::kUnexpectedMessage);
}

void RecordIntake::take_alert(std::span<const std::byte> content) noexcept {
  if (content.empty()) return fail(RecordFailure::kUnexpectedMessage);
  if (content.size() != 2) return fail(RecordFailure::kDecodeError);
  const auto description = static_cast<AlertDescription>(content[1]);
  if (description == AlertDescription::kCloseNotify) {
    end_ = End::kCloseNotify;
  } else if (is_fatal(description)) {
    fail({.failure = RecordFailure::kAlertReceived, .alert = description});
  } else if (++warnings_ > kMostWarnings) {
    fail(RecordFailure::kUnexpectedMessage);
  }
}

void RecordIntake::take_handshake(std::span<const std::byte> content,
                                  KeyUpdateBudget::Clock::time_point now) {
  const auto fed = messages_.feed(content);
  if (!fed) return fail(fed.error());
  while (true) {
    const auto message = messages_.next();
    if (!message) return fail(message.error());
    if (!*message) return;
    // A ticket is good for nothing yet: we never resume towards a server.
    if ((*message)->kind != PostHandshakeMessage::Kind::kKeyUpdate) continue;
    if (!budget_.spend(received_bytes_, now)) return fail(RecordFailure::kKeyUpdateFlood);
    opener_.next_generation();
    ++key_updates_;
    if ((*message)->request == KeyUpdateRequest::kUpdateRequested) update_requested_ = true;
  }
}

bool RecordIntake::take_update_request() noexcept {
  return std::exchange(update_requested_, false);
}

void RecordIntake::fail(RecordError error) noexcept {
  end_ = End::kFailed;
  error_ = error;
}

}  // namespace sallyport::ktls
