#include "ktls/userspace_records.h"

#include <algorithm>
#include <cerrno>
#include <coroutine>
#include <cstring>
#include <utility>
#include <vector>

#include "iouring/cancel.h"
#include "iouring/invariant.h"
#include "ktls/post_handshake.h"
#include "ktls/record_intake.h"
#include "ktls/record_protection.h"

namespace sallyport::ktls {
namespace {

using iouring::Block;
using iouring::Lease;
using iouring::Result;
using iouring::Task;

/// A block that is read into begins with the table of the spans of plaintext found in it.
constexpr std::size_t kTableEntries = 32;
constexpr std::size_t kTableSize = kTableEntries * sizeof(iovec);
/// Behind it four full records as every stack sends them: a bulk flow that fills this ends at the
/// end of a record, so that nothing is carried over into the next block.
constexpr std::size_t kReadSize = 4 * (kMaxPlaintextSize + kRecordOverhead);
static_assert(kReadSize >= kMaxRecordSize);
static_assert(kTableSize + kReadSize <= iouring::BlockPool::kDefaultBytes);

class UserspaceRecords final : public RecordLayer {
 public:
  UserspaceRecords(iouring::Socket socket, const SessionState& state, RecordPools pools, Role role,
                   std::span<const std::byte> leftover);

  Task<Received> receive() override;
  Task<SendResult> send(Chunk data) override;
  Task<SendResult> send_close() override;
  Task<SendResult> send_alert(AlertDescription description) override;
  std::optional<SessionState> export_state() const override;
  std::span<const std::byte> unopened() const noexcept override;
  RecordModel rx_model() const noexcept override { return RecordModel::kUserspace; }
  RecordModel tx_model() const noexcept override { return RecordModel::kUserspace; }

 private:
  class Turn;
  enum class Sending : std::uint8_t {
    kOpen,
    kEnded,  ///< close_notify or a fatal alert was sealed or received: no data may follow
    kTorn,   ///< a write failed under way: nothing may follow
  };

  // Receiving. What is not inlined would otherwise be part of the frame of receive(), in which
  // every idle connection waits: the compiler elides the allocation of an inlined coroutine.
  bool ended() const noexcept;
  bool may_wait_idle() const noexcept;
  bool hold_back(Received& received);
  [[gnu::noinline]] Task<Received> act();
  [[gnu::noinline]] Task<Received> fill_block();
  Received end_of_input() const noexcept;
  Received failed(iouring::Errno error) noexcept;
  Received open_lease(Result<Lease> lease);
  Received open_block();
  void after_intake();
  void keep(std::span<const std::byte> ciphertext);

  // Sending. Whoever writes to the socket holds the turn.
  std::expected<std::size_t, RecordError> seal_next(PlaintextCursor& content,
                                                    std::span<std::byte> out);
  void owe(ContentType type, std::span<const std::byte> message);
  void owe_alert(AlertLevel level, AlertDescription description);
  [[gnu::noinline]] Task<void> offer_owed();
  [[gnu::noinline]] Task<SendResult> write_owed();
  Task<SendResult> end_sending(AlertLevel level, AlertDescription description);
  std::unexpected<RecordError> torn(RecordError error) noexcept;
  void end_turn() noexcept;

  RecordPools pools_;
  RecordIntake intake_;
  RecordSealer sealer_;

  Block block_;  ///< holds the bytes between begin_ and end_, an unfinished record; else empty
  std::uint32_t begin_ = 0;
  std::uint32_t end_ = 0;

  std::vector<std::byte> owed_;     ///< sealed control records that go out before any other
  Turn* waiting_ = nullptr;         ///< a sender that waits for its turn
  std::unique_ptr<Received> held_;  ///< data that is delivered once the answer was offered
  std::optional<RecordError> socket_error_;
  Sending sending_ = Sending::kOpen;
  bool unread_ = false;  ///< block_ may hold whole records
  bool end_of_file_ = false;
  bool alert_offered_ = false;
  bool offer_due_ = false;    ///< receive() has yet to try whether owed_ goes out
  bool answer_owed_ = false;  ///< owed_ holds a KeyUpdate
  bool turn_taken_ = false;
};

/// `co_await Turn(*this)`: until nobody else writes to the socket. end_turn() ends it. The holder
/// always ends by itself, and soon when cancelled, so that the wait needs no cancelling.
class UserspaceRecords::Turn final : private iouring::Waiter {
 public:
  explicit Turn(UserspaceRecords& records) noexcept : records_(records) {}
  bool await_ready() const noexcept { return !records_.turn_taken_; }
  void await_suspend(std::coroutine_handle<> awaiting) noexcept {
    iouring::invariant(records_.waiting_ == nullptr, "one send at a time on a record layer");
    awaiting_ = awaiting;
    records_.waiting_ = this;
  }
  void await_resume() noexcept { records_.turn_taken_ = true; }

 private:
  friend class UserspaceRecords;
  void on_cancel() noexcept override {}
  void on_ready() noexcept override { awaiting_.resume(); }

  UserspaceRecords& records_;
  std::coroutine_handle<> awaiting_;
};

UserspaceRecords::UserspaceRecords(iouring::Socket socket, const SessionState& state,
                                   RecordPools pools, Role role,
                                   std::span<const std::byte> leftover)
    : RecordLayer(std::move(socket)),
      pools_(pools),
      intake_(pools.contexts, state.suite, state.rx, role),
      sealer_(pools.contexts, state.suite, state.tx) {
  iouring::invariant(leftover.size() <= kReadSize, "leftover of a handshake fits into a block",
                     static_cast<long long>(leftover.size()), kReadSize);
  if (leftover.empty()) return;
  keep(leftover);
  unread_ = true;
}

// ---- receiving ----

bool UserspaceRecords::ended() const noexcept {
  return intake_.end() != RecordIntake::End::kOpen || socket_error_ || end_of_file_;
}

/// Nothing is to be done before a read, and the read needs no block.
bool UserspaceRecords::may_wait_idle() const noexcept {
  return !offer_due_ && !held_ && !unread_ && !block_ && !ended() && !socket_.more_waiting();
}

/// An idle connection waits in here, in the receive of a provided buffer.
Task<Received> UserspaceRecords::receive() {
  offer_due_ = !owed_.empty();
  while (true) {
    if (may_wait_idle()) {
      Result<Lease> lease = co_await socket_.recv(pools_.small);
      Received received = open_lease(std::move(lease));
      if (!hold_back(received)) co_return received;
    } else {
      Received received = co_await act();
      if (!hold_back(received)) co_return received;
    }
  }
}

/// True if there is nothing to deliver (data of no size), or not yet: a KeyUpdate that came with
/// the data is answered first, for the pump may be long in coming back.
bool UserspaceRecords::hold_back(Received& received) {
  if (received.kind != Received::Kind::kData) return false;
  if (received.size() == 0) return true;
  if (!offer_due_) return false;
  held_ = std::make_unique<Received>(std::move(received));
  return true;
}

/// One step towards the next data.
Task<Received> UserspaceRecords::act() {
  if (offer_due_) co_await offer_owed();
  if (held_) {
    const std::unique_ptr<Received> held = std::move(held_);
    co_return std::move(*held);
  }
  if (ended()) {
    block_.release();
    if (intake_.end() == RecordIntake::End::kFailed && !std::exchange(alert_offered_, true)) {
      const auto alert = alert_for(intake_.error().failure);
      if (alert) owe_alert(AlertLevel::kFatal, *alert);
      if (sending_ == Sending::kOpen) sending_ = Sending::kEnded;
      co_await offer_owed();
    }
    co_return end_of_input();
  }
  if (unread_) co_return open_block();
  if (!block_ && !socket_.more_waiting()) co_return Received{};
  Received received = co_await fill_block();
  co_return received;
}

Received UserspaceRecords::end_of_input() const noexcept {
  switch (intake_.end()) {
    case RecordIntake::End::kCloseNotify:
      return {.kind = Received::Kind::kCloseNotify, .error = {}, .chunk = {}};
    case RecordIntake::End::kFailed:
      return {.kind = Received::Kind::kFailed, .error = intake_.error(), .chunk = {}};
    case RecordIntake::End::kOpen:
      break;
  }
  if (socket_error_) {
    return {.kind = Received::Kind::kFailed, .error = *socket_error_, .chunk = {}};
  }
  return {.kind = Received::Kind::kTruncated, .error = {}, .chunk = {}};
}

/// A read failed. Cancellation passes; everything else stays.
Received UserspaceRecords::failed(iouring::Errno error) noexcept {
  const RecordError reason = RecordError::from_errno(error.value);
  if (reason.failure != RecordFailure::kCancelled) socket_error_ = reason;
  return {.kind = Received::Kind::kFailed, .error = reason, .chunk = {}};
}

/// Reads behind the unfinished record, if there is one.
Task<Received> UserspaceRecords::fill_block() {
  if (!block_) {
    block_ = pools_.blocks.acquire();
    begin_ = end_ = kTableSize;
  }
  const std::size_t held = end_ - begin_;
  Result<std::size_t> size = co_await socket_.recv(block_.bytes().subspan(end_, kReadSize - held));
  if (size && *size != 0) {
    end_ += static_cast<std::uint32_t>(*size);
    co_return open_block();
  }
  if (held == 0) block_.release();
  if (!size) co_return failed(size.error());
  end_of_file_ = true;
  co_return Received{};
}

Received UserspaceRecords::open_lease(Result<Lease> lease) {
  if (!lease) return failed(lease.error());
  if (!*lease) {
    end_of_file_ = true;
    return {};
  }
  const std::span<std::byte> bytes = lease->bytes();
  iovec only{};
  PlaintextSpans plaintext{std::span(&only, 1)};
  const std::size_t used = intake_.take(bytes, plaintext, socket_.ring().now());
  if (used < bytes.size()) keep(bytes.subspan(used));
  after_intake();
  if (plaintext.size() == 0) return {};
  const std::span content{static_cast<std::byte*>(only.iov_base), only.iov_len};
  return {.kind = Received::Kind::kData, .error = {}, .chunk = Chunk(std::move(*lease), content)};
}

Received UserspaceRecords::open_block() {
  unread_ = false;
  Block block = std::move(block_);
  auto* const table = new (block.data()) iovec[kTableEntries];
  PlaintextSpans plaintext{std::span(table, kTableEntries)};
  const std::span<std::byte> bytes = block.bytes().subspan(begin_, end_ - begin_);
  const std::size_t used = intake_.take(bytes, plaintext, socket_.ring().now());
  const std::span<std::byte> rest = bytes.subspan(used);
  after_intake();
  if (plaintext.size() == 0) {
    if (rest.empty()) return {};
    // The block goes on being filled; its front is what take() has done with.
    block_ = std::move(block);
    std::memmove(block_.data() + kTableSize, rest.data(), rest.size());
    begin_ = kTableSize;
    end_ = begin_ + static_cast<std::uint32_t>(rest.size());
    return {};
  }
  if (!rest.empty()) keep(rest);
  const std::span<iovec> spans = plaintext.spans();
  if (spans.size() > 1)
    return {.kind = Received::Kind::kData, .error = {}, .chunk = Chunk(std::move(block), spans)};
  const std::span content{static_cast<std::byte*>(spans[0].iov_base), spans[0].iov_len};
  return {.kind = Received::Kind::kData, .error = {}, .chunk = Chunk(std::move(block), content)};
}

/// Books what the intake did, and answers a KeyUpdate. However many asked, one answer that is not
/// out yet answers all (RFC 8446 4.6.3).
void UserspaceRecords::after_intake() {
  counters_.received_bytes = intake_.received_bytes();
  counters_.key_updates_received = intake_.key_updates();
  if (!intake_.take_update_request() || answer_owed_ || sending_ != Sending::kOpen) return;
  owe(ContentType::kHandshake, key_update_message(KeyUpdateRequest::kUpdateNotRequested));
  sealer_.next_generation();
  ++counters_.key_updates_sent;
  answer_owed_ = true;
  offer_due_ = true;
}

/// Puts an unfinished record into a block of its own.
void UserspaceRecords::keep(std::span<const std::byte> ciphertext) {
  block_ = pools_.blocks.acquire();
  std::memcpy(block_.data() + kTableSize, ciphertext.data(), ciphertext.size());
  begin_ = kTableSize;
  end_ = begin_ + static_cast<std::uint32_t>(ciphertext.size());
}

// ---- sending ----

void UserspaceRecords::end_turn() noexcept {
  turn_taken_ = false;
  if (waiting_ == nullptr) return;
  turn_taken_ = true;  // handed over, so that nobody comes between
  socket_.ring().make_ready(*std::exchange(waiting_, nullptr));
}

/// Seals a control record now, whose place in the sequence is thereby fixed: behind what is being
/// written, before whatever is sealed next.
void UserspaceRecords::owe(ContentType type, std::span<const std::byte> message) {
  const iovec span{const_cast<std::byte*>(message.data()), message.size()};
  PlaintextCursor content{std::span(&span, 1)};
  const std::size_t before = owed_.size();
  owed_.resize(before + sealed_size(message.size()));
  const auto sealed = sealer_.seal(type, content, std::span(owed_).subspan(before));
  if (sealed) return;
  owed_.resize(before);
  sending_ = Sending::kTorn;
}

void UserspaceRecords::owe_alert(AlertLevel level, AlertDescription description) {
  if (sending_ != Sending::kOpen) return;
  const std::byte alert[] = {static_cast<std::byte>(level), static_cast<std::byte>(description)};
  owe(ContentType::kAlert, alert);
  if (sending_ == Sending::kOpen) sending_ = Sending::kEnded;
}

std::unexpected<RecordError> UserspaceRecords::torn(RecordError error) noexcept {
  sending_ = Sending::kTorn;
  owed_ = {};
  return std::unexpected(error);
}

/// receive() pays what it owes, but never waits behind a sender or a full socket: a peer that
/// does not read before we read would then never go on. What does not go out now goes out with the
/// next send or the next call.
Task<void> UserspaceRecords::offer_owed() {
  offer_due_ = false;
  if (owed_.empty() || turn_taken_ || sending_ == Sending::kTorn) co_return;
  turn_taken_ = true;
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
  end_turn();
}

/// Writes out what is owed, in the caller's turn.
Task<RecordLayer::SendResult> UserspaceRecords::write_owed() {
  while (!owed_.empty()) {
    const std::vector<std::byte> records = std::exchange(owed_, {});
    answer_owed_ = false;
    Result<> sent = co_await socket_.send_all(records);
    if (!sent) co_return torn(RecordError::from_errno(sent.error().value));
  }
  co_return SendResult{};
}

/// Fills `out` with what is owed, a KeyUpdate if our key has done its work, and data.
std::expected<std::size_t, RecordError> UserspaceRecords::seal_next(PlaintextCursor& content,
                                                                    std::span<std::byte> out) {
  if (sealer_.key_update_due()) {
    owe(ContentType::kHandshake, key_update_message(KeyUpdateRequest::kUpdateNotRequested));
    sealer_.next_generation();
    ++counters_.key_updates_sent;
  }
  std::ranges::copy(owed_, out.begin());
  const std::size_t control = owed_.size();
  if (control != 0) owed_ = {};
  answer_owed_ = false;
  const auto sealed = sealer_.seal(ContentType::kApplicationData, content, out.subspan(control));
  if (!sealed) return std::unexpected(sealed.error());
  return control + *sealed;
}

Task<RecordLayer::SendResult> UserspaceRecords::send(Chunk data) {
  const std::size_t size = data.size();
  if (size == 0) co_return SendResult{};
  co_await Turn(*this);
  SendResult result;
  PlaintextCursor content{data.data()};
  Block block = pools_.blocks.acquire();
  while (result && content.remaining() != 0) {
    if (sending_ != Sending::kOpen) {
      result = std::unexpected(RecordError{.failure = RecordFailure::kPipe});
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
  if (!owed_.empty() && sending_ != Sending::kTorn) {
    const SendResult paid = co_await write_owed();
    if (result && !paid) result = paid;
  }
  end_turn();
  co_return result;
}

/// The last record that we send.
Task<RecordLayer::SendResult> UserspaceRecords::end_sending(AlertLevel level,
                                                            AlertDescription description) {
  co_await Turn(*this);
  owe_alert(level, description);
  SendResult result;
  if (sending_ == Sending::kTorn) {
    result = std::unexpected(RecordError{.failure = RecordFailure::kPipe});
  } else {
    result = co_await write_owed();
  }
  end_turn();
  co_return result;
}

Task<RecordLayer::SendResult> UserspaceRecords::send_alert(AlertDescription description) {
  return end_sending(AlertLevel::kFatal, description);
}

Task<RecordLayer::SendResult> UserspaceRecords::send_close() {
  SendResult said = co_await end_sending(AlertLevel::kWarning, AlertDescription::kCloseNotify);
  Result<> shut = co_await socket_.shutdown_write();
  if (said && !shut) co_return std::unexpected(RecordError::from_errno(shut.error().value));
  co_return said;
}

// ---- export ----

std::optional<SessionState> UserspaceRecords::export_state() const {
  return SessionState{intake_.suite(), intake_.export_state(), sealer_.export_state()};
}

std::span<const std::byte> UserspaceRecords::unopened() const noexcept {
  if (!block_) return {};
  return block_.bytes().subspan(begin_, end_ - begin_);
}

}  // namespace

std::unique_ptr<RecordLayer> userspace_records(iouring::Socket socket, const SessionState& state,
                                               RecordPools pools,
                                               std::span<const std::byte> leftover, Role role) {
  return std::make_unique<UserspaceRecords>(std::move(socket), state, pools, role, leftover);
}

}  // namespace sallyport::ktls
