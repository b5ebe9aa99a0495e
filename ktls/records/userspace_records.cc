#include "ktls/records/userspace_records.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "iouring/invariant.h"
#include "ktls/records/acknowledge.h"
#include "ktls/records/record_reader.h"
#include "ktls/records/record_writer.h"

namespace sallyport::ktls {
namespace {

using iouring::Block;
using iouring::Lease;
using iouring::Result;
using iouring::Task;

/// A block that is read into begins with the table of the spans of plaintext found in it.
constexpr std::size_t kTableEntries = 32;
constexpr std::size_t kTableSize = kTableEntries * sizeof(iovec);
/// Behind the table lie fifteen full records as every stack sends them: a bulk flow that fills this
/// ends at the end of a record, so that nothing is carried over into the next block. As many as
/// fit, because each read and each send costs as much as twenty kilobytes and more of AEAD
/// (plain_records.cc).
constexpr std::size_t read_size(std::size_t overhead) noexcept {
  return 15 * (kMaxPlaintextSize + overhead);
}
constexpr std::size_t kMaxLeftover = 64 * 1024;
static_assert(kMaxLeftover >= kMaxRecordSize && kMaxLeftover <= read_size(0));
static_assert(kTableSize + read_size(kMaxRecordOverhead) <= iouring::BlockPool::kDefaultBytes);

bool is_nothing(const Received& received) {
  return received.kind == Received::Kind::kData && received.size() == 0;
}

class UserspaceRecords final : public RecordLayer {
 public:
  UserspaceRecords(iouring::Socket socket, const SessionState& state, RecordPools& pools, Role role,
                   std::span<const std::byte> leftover);

  Task<Received> take(Arrival& arrival) override;
  Task<SendResult> send(Chunk data) override { return writer_.send(std::move(data)); }
  Task<SendResult> send_close() override;
  Task<SendResult> send_fin() override;
  Task<SendResult> send_alert(AlertDescription description) override {
    return writer_.send_alert(AlertLevel::kFatal, description);
  }
  std::optional<SessionState> export_state() const override;
  std::span<const std::byte> unopened() const noexcept override;
  void collect_tickets(std::unique_ptr<TicketSink> sink) noexcept override {
    inbound().collect_tickets(std::move(sink));
  }
  std::unique_ptr<TicketSink> release_tickets() noexcept override {
    return inbound().release_tickets();
  }
  bool at_rest() const noexcept override {
    return socket_.in_flight() == 0 && !inbound().ended() && !held_ && !inbound().mid_message() &&
           writer_.at_rest();
  }
  RecordModel rx_model() const noexcept override { return RecordModel::kUserspace; }
  RecordModel tx_model() const noexcept override { return RecordModel::kUserspace; }

 private:
  InboundState& inbound() noexcept { return reader_.inbound(); }
  const InboundState& inbound() const noexcept { return reader_.inbound(); }
  InboundState::Moment moment() const noexcept {
    return {socket_.ring().now(), writer_.sealed_records()};
  }
  bool may_wait_idle() const noexcept override;
  bool hold_back(Received& received);
  Task<Received> step();
  Task<Received> fill_block();
  Received open_lease(Result<Lease> lease);
  Received open_block();
  void after_read();
  void keep_unfinished(std::span<const std::byte> ciphertext);

  RecordReader reader_;
  RecordWriter writer_;

  Block block_;  ///< holds the bytes between begin_ and end_, an unfinished record; else empty
  std::uint32_t begin_ = 0;
  std::uint32_t end_ = 0;

  std::unique_ptr<Received> held_;  ///< data that is delivered once a flush was tried
  bool unread_ = false;             ///< block_ may hold whole records
};

UserspaceRecords::UserspaceRecords(iouring::Socket socket, const SessionState& state,
                                   RecordPools& pools, Role role,
                                   std::span<const std::byte> leftover)
    : RecordLayer(std::move(socket), pools),
      reader_(pools.contexts, state.suite, state.rx, role, state.version),
      writer_(socket_, pools_, counters_, state) {
  iouring::invariant(leftover.size() <= kMaxLeftover, "leftover of a handshake fits into a block",
                     static_cast<long long>(leftover.size()), kMaxLeftover);
  if (leftover.empty()) return;
  keep_unfinished(leftover);
  unread_ = true;
}

/// Nothing is to be done before a receive, and the receive needs no block.
bool UserspaceRecords::may_wait_idle() const noexcept {
  return !writer_.flush_due() && !held_ && !unread_ && !block_ && !inbound().ended() &&
         !socket_.more_waiting();
}

/// Queued control records that could not be sent are tried again after each delivery, not in a
/// loop.
Task<Received> UserspaceRecords::take(Arrival& arrival) {
  Received received;
  if (arrival.waited()) {
    received = open_lease(arrival.lease());
  } else {
    received = co_await step();
  }
  // A server with Nagle's algorithm keeps its answer until it has that.
  if (inbound().take_ticket() && is_nothing(received)) co_await acknowledge(socket_);
  if (hold_back(received)) co_return Received{};
  writer_.reset_flush_due();
  co_return received;
}

/// True if there is nothing to deliver (data of no size), or not yet: a KeyUpdate that came with
/// the data is answered first, because the pump may take long to receive again.
bool UserspaceRecords::hold_back(Received& received) {
  if (received.kind != Received::Kind::kData) return false;
  if (is_nothing(received)) return true;
  if (!writer_.flush_due()) return false;
  held_ = std::make_unique<Received>(std::move(received));
  return true;
}

/// One step towards the next data: flush, end, or one read.
Task<Received> UserspaceRecords::step() {
  if (writer_.flush_due()) co_await writer_.try_flush();
  if (held_) {
    const std::unique_ptr<Received> held = std::move(held_);
    co_return std::move(*held);
  }
  if (inbound().ended()) {
    block_.release();
    if (const auto failure = inbound().take_failure()) {
      writer_.end_after(*failure);
      co_await writer_.try_flush();
    }
    co_return inbound().end_of_input();
  }
  if (unread_) co_return open_block();
  if (!block_ && !socket_.more_waiting()) co_return Received{};
  Received received = co_await fill_block();
  co_return received;
}

/// Reads into the block, behind the unfinished record if there is one.
Task<Received> UserspaceRecords::fill_block() {
  if (!block_) {
    block_ = pools_.blocks.acquire();
    begin_ = end_ = kTableSize;
  }
  const std::size_t held = end_ - begin_;
  const std::size_t most = read_size(record_overhead(reader_.version(), reader_.suite()));
  Result<std::size_t> size = co_await socket_.recv(block_.bytes().subspan(end_, most - held));
  if (size && *size != 0) {
    expect_as_much_as(*size);
    end_ += static_cast<std::uint32_t>(*size);
    co_return open_block();
  }
  if (held == 0) block_.release();
  if (!size) co_return inbound().receive_failed(size.error());
  inbound().end_of_file();
  co_return Received{};
}

Received UserspaceRecords::open_lease(Result<Lease> lease) {
  if (!lease) return inbound().receive_failed(lease.error());
  if (!*lease) {
    inbound().end_of_file();
    return {};
  }
  const std::span<std::byte> bytes = lease->bytes();
  expect_as_much_as(bytes.size());
  iovec only{};
  PlaintextSpans plaintext{std::span(&only, 1)};
  const std::size_t used = reader_.read(bytes, plaintext, moment());
  if (used < bytes.size()) keep_unfinished(bytes.subspan(used));
  after_read();
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
  const std::size_t used = reader_.read(bytes, plaintext, moment());
  const std::span<std::byte> rest = bytes.subspan(used);
  after_read();
  if (plaintext.size() == 0) {
    if (rest.empty()) return {};
    // The block is filled further; the records at its front are used up.
    block_ = std::move(block);
    std::memmove(block_.data() + kTableSize, rest.data(), rest.size());
    begin_ = kTableSize;
    end_ = begin_ + static_cast<std::uint32_t>(rest.size());
    return {};
  }
  if (!rest.empty()) keep_unfinished(rest);
  const std::span<iovec> spans = plaintext.spans();
  if (spans.size() > 1)
    return {.kind = Received::Kind::kData, .error = {}, .chunk = Chunk(std::move(block), spans)};
  const std::span content{static_cast<std::byte*>(spans[0].iov_base), spans[0].iov_len};
  return {.kind = Received::Kind::kData, .error = {}, .chunk = Chunk(std::move(block), content)};
}

/// Takes over the reader's counts, and answers a request for new keys.
void UserspaceRecords::after_read() {
  counters_.received_bytes = inbound().received_bytes();
  counters_.key_updates_received = inbound().key_updates();
  if (inbound().take_update_request()) writer_.queue_answer();
}

/// Puts an unfinished record into a block of its own.
void UserspaceRecords::keep_unfinished(std::span<const std::byte> ciphertext) {
  block_ = pools_.blocks.acquire();
  std::memcpy(block_.data() + kTableSize, ciphertext.data(), ciphertext.size());
  begin_ = kTableSize;
  end_ = begin_ + static_cast<std::uint32_t>(ciphertext.size());
}

Task<RecordLayer::SendResult> UserspaceRecords::send_close() {
  SendResult sent =
      co_await writer_.send_alert(AlertLevel::kWarning, AlertDescription::kCloseNotify);
  Result<> shut = co_await socket_.shutdown_write();
  if (!sent || shut) co_return sent;
  // A cancellation came between the two: TCP would keep close_notify for the FIN, up to 200 ms.
  // Setting TCP_NODELAY sends what is kept (tcp(7)).
  const int on = 1;
  [[maybe_unused]] Result<> pushed =
      co_await socket_.set_option(IPPROTO_TCP, TCP_NODELAY, std::as_bytes(std::span(&on, 1)));
  co_return std::unexpected(RecordError::from_errno(shut.error().value));
}

Task<RecordLayer::SendResult> UserspaceRecords::send_fin() {
  Result<> shut = co_await socket_.shutdown_write();
  if (!shut) co_return std::unexpected(RecordError::from_errno(shut.error().value));
  co_return SendResult{};
}

std::optional<SessionState> UserspaceRecords::export_state() const {
  return SessionState{reader_.suite(), reader_.export_state(), writer_.export_state(),
                      reader_.version(), writer_.max_fragment()};
}

std::span<const std::byte> UserspaceRecords::unopened() const noexcept {
  if (!block_) return {};
  return block_.bytes().subspan(begin_, end_ - begin_);
}

}  // namespace

std::unique_ptr<RecordLayer> userspace_records(iouring::Socket socket, const SessionState& state,
                                               RecordPools& pools,
                                               std::span<const std::byte> leftover, Role role) {
  return std::make_unique<UserspaceRecords>(std::move(socket), state, pools, role, leftover);
}

}  // namespace sallyport::ktls
