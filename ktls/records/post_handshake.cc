#include "ktls/records/post_handshake.h"

#include <algorithm>

namespace sallyport::ktls {
namespace {

constexpr std::size_t kMessageHeaderSize = 4;
constexpr std::byte kHelloRequestType{0};
constexpr std::byte kClientHelloType{1};
constexpr std::byte kNewSessionTicketType{4};
constexpr std::byte kKeyUpdateType{24};

std::size_t body_size(std::span<const std::byte> message) {
  return std::to_integer<std::size_t>(message[1]) << 16 |
         std::to_integer<std::size_t>(message[2]) << 8 | std::to_integer<std::size_t>(message[3]);
}

}  // namespace

std::array<std::byte, 5> key_update_message(KeyUpdateRequest request) noexcept {
  return {kKeyUpdateType, std::byte{0}, std::byte{0}, std::byte{1},
          static_cast<std::byte>(request)};
}

std::expected<void, RecordError> PostHandshakeParser::feed(std::span<const std::byte> content) {
  if (content.empty()) return refuse(RecordFailure::kUnexpectedMessage);
  rest_ = content;
  whole_.reset();
  return {};
}

std::expected<void, RecordError> PostHandshakeParser::check(
    std::span<const std::byte, 4> header) const {
  const std::size_t size = body_size(header);
  if (version_ == RecordVersion::kTls12) {
    // The only messages that ask for another handshake (RFC 5246 7.4.1).
    const std::byte wanted = role_ == Role::kServer ? kClientHelloType : kHelloRequestType;
    if (header[0] != wanted) return refuse(RecordFailure::kUnexpectedMessage);
    if (size > (role_ == Role::kServer ? kMaxMessageSize : 0)) {
      return refuse(RecordFailure::kDecodeError);
    }
    return {};
  }
  if (header[0] == kKeyUpdateType) {
    if (size != 1) return refuse(RecordFailure::kDecodeError);
    return {};
  }
  if (header[0] == kNewSessionTicketType && role_ == Role::kClient) {
    if (size > kMaxMessageSize) return refuse(RecordFailure::kDecodeError);
    return {};
  }
  return refuse(RecordFailure::kUnexpectedMessage);
}

std::expected<std::optional<PostHandshakeMessage>, RecordError> PostHandshakeParser::next() {
  if (rest_.empty()) return std::nullopt;

  std::span<const std::byte> message = rest_;
  if (partial_) {
    // The header is completed first: it says how much is wanted.
    const auto take = [&](std::size_t wanted) {
      const std::size_t count = std::min(wanted - std::min(wanted, partial_->size()), rest_.size());
      partial_->insert(partial_->end(), rest_.begin(), rest_.begin() + static_cast<long>(count));
      rest_ = rest_.subspan(count);
      return partial_->size() >= wanted;
    };
    if (!take(kMessageHeaderSize)) return std::nullopt;
    const auto fine = check(std::span(*partial_).first<kMessageHeaderSize>());
    if (!fine) return std::unexpected(fine.error());
    if (!take(kMessageHeaderSize + body_size(*partial_))) return std::nullopt;
    whole_ = std::move(partial_);
    message = *whole_;
  } else {
    if (rest_.size() >= kMessageHeaderSize) {
      const auto fine = check(rest_.first<kMessageHeaderSize>());
      if (!fine) return std::unexpected(fine.error());
    }
    if (rest_.size() < kMessageHeaderSize || rest_.size() < kMessageHeaderSize + body_size(rest_)) {
      partial_ = std::make_unique<std::vector<std::byte>>(rest_.begin(), rest_.end());
      rest_ = {};
      return std::nullopt;
    }
    message = rest_.first(kMessageHeaderSize + body_size(rest_));
    rest_ = rest_.subspan(message.size());
  }

  if (version_ == RecordVersion::kTls12) {
    return PostHandshakeMessage{.kind = PostHandshakeMessage::Kind::kRenegotiation,
                                .request = {},
                                .body = message.subspan(kMessageHeaderSize)};
  }
  if (message[0] == kNewSessionTicketType) {
    return PostHandshakeMessage{.kind = PostHandshakeMessage::Kind::kNewSessionTicket,
                                .request = {},
                                .body = message.subspan(kMessageHeaderSize)};
  }
  // Keys change behind a KeyUpdate, so nothing may follow it in its record (RFC 8446 5.1).
  if (!rest_.empty()) return refuse(RecordFailure::kUnexpectedMessage);
  const auto request = std::to_integer<std::uint8_t>(message[kMessageHeaderSize]);
  if (request > 1) return refuse(RecordFailure::kIllegalParameter);
  return PostHandshakeMessage{.kind = PostHandshakeMessage::Kind::kKeyUpdate,
                              .request = static_cast<KeyUpdateRequest>(request),
                              .body = {}};
}

bool KeyUpdateBudget::spend(const Progress& progress) noexcept {
  if (counted_until_ == Clock::time_point{}) counted_until_ = progress.now;
  const auto by_time = static_cast<std::uint64_t>((progress.now - counted_until_) / kTimeEach);
  const std::uint64_t by_bytes = (progress.received_bytes - counted_bytes_) / kBytesEach;
  counted_until_ += by_time * kTimeEach;
  counted_bytes_ += by_bytes * kBytesEach;
  left_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(kMax, left_ + by_time + by_bytes));

  // Fewer than before: there is a new sending key.
  const bool same_key = progress.sent_records >= counted_records_;
  const std::uint64_t sent = progress.sent_records - (same_key ? counted_records_ : 0);
  counted_records_ = progress.sent_records;
  under_way_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(kMaxUnderWay, under_way_ + sent));

  std::uint32_t& bucket = under_way_ != 0 ? under_way_ : left_;
  if (bucket == 0) return false;
  --bucket;
  return true;
}

}  // namespace sallyport::ktls
