#include "ktls/records/plain_records.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace sallyport::ktls {
namespace {

using iouring::Block;
using iouring::Lease;
using iouring::Result;
using iouring::Task;

/// What one read takes at most: sixteen full records, which fit into a block once they are sealed,
/// so that they go out in one piece. A read and a send cost some 20 µs beyond their bytes, most of
/// it for waking the processes at the other ends, so a busy flow should have few of them. For a
/// client that reads slowly so much is held, beside the megabytes of its socket.
constexpr std::size_t kPlainReadSize = 16 * kMaxPlaintextSize;
static_assert(16 * (kMaxPlaintextSize + kMaxRecordOverhead) <= iouring::BlockPool::kDefaultBytes);

class PlainRecords final : public RecordLayer {
 public:
  PlainRecords(iouring::Socket socket, RecordPools& pools) noexcept
      : RecordLayer(std::move(socket), pools) {}

  Task<Received> take(Arrival& arrival) override;
  Task<SendResult> send(Chunk data) override;
  Task<SendResult> send_close() override { return send_fin(); }
  Task<SendResult> send_fin() override;
  Task<SendResult> send_alert(AlertDescription) override { co_return SendResult{}; }
  std::optional<SessionState> export_state() const override { return std::nullopt; }
  std::span<const std::byte> unopened() const noexcept override { return {}; }
  void collect_tickets(std::unique_ptr<TicketSink>) noexcept override {}
  std::unique_ptr<TicketSink> release_tickets() noexcept override { return nullptr; }
  bool at_rest() const noexcept override {
    return socket_.in_flight() == 0 && end_ == Received::Kind::kData;
  }
  RecordModel rx_model() const noexcept override { return RecordModel::kPlain; }
  RecordModel tx_model() const noexcept override { return RecordModel::kPlain; }

 private:
  bool may_wait_idle() const noexcept override {
    return end_ == Received::Kind::kData && !socket_.more_waiting();
  }
  Received deliver(Result<Lease> lease) noexcept;
  Received ended() const noexcept;
  Received receive_failed(iouring::Errno error) noexcept;

  Received::Kind end_ = Received::Kind::kData;  ///< kData: it has not ended
  RecordError error_;
};

Received PlainRecords::ended() const noexcept {
  return {.kind = end_, .error = error_, .chunk = {}};
}

/// A receive failed. A cancelled one ends nothing; every other failure stays.
Received PlainRecords::receive_failed(iouring::Errno error) noexcept {
  const RecordError reason = RecordError::from_errno(error.value);
  if (reason.failure != RecordFailure::kCancelled) {
    end_ = Received::Kind::kFailed;
    error_ = reason;
  }
  return {.kind = Received::Kind::kFailed, .error = reason, .chunk = {}};
}

Received PlainRecords::deliver(Result<Lease> lease) noexcept {
  if (!lease) return receive_failed(lease.error());
  if (!*lease) {
    end_ = Received::Kind::kEndOfStream;
    return ended();
  }
  const std::span<std::byte> bytes = lease->bytes();
  expect_as_much_as(bytes.size());
  counters_.received_bytes += bytes.size();
  return {.kind = Received::Kind::kData, .error = {}, .chunk = Chunk(std::move(*lease), bytes)};
}

Task<Received> PlainRecords::take(Arrival& arrival) {
  if (arrival.waited()) co_return deliver(arrival.lease());
  if (end_ != Received::Kind::kData) co_return ended();
  Block block = pools_.blocks.acquire();
  const std::size_t room = std::min(kPlainReadSize, block.size());
  Result<std::size_t> size = co_await socket_.recv(block.bytes().first(room));
  if (!size) co_return receive_failed(size.error());
  if (*size == 0) {
    end_ = Received::Kind::kEndOfStream;
    co_return ended();
  }
  expect_as_much_as(*size);
  const std::span<std::byte> bytes = block.bytes().first(*size);
  counters_.received_bytes += *size;
  co_return Received{
      .kind = Received::Kind::kData, .error = {}, .chunk = Chunk(std::move(block), bytes)};
}

Task<RecordLayer::SendResult> PlainRecords::send(Chunk data) {
  const std::size_t size = data.size();
  std::span<iovec> spans = data.data();
  if (size == 0) co_return SendResult{};
  if (data.holds_lease()) {
    // A lease is sent at once or given back: it must not wait for this peer.
    const std::span bytes{static_cast<const std::byte*>(spans[0].iov_base), spans[0].iov_len};
    Result<std::size_t> sent = co_await socket_.send(bytes, MSG_DONTWAIT);
    if (!sent && sent.error().value != EAGAIN) {
      co_return std::unexpected(RecordError::from_errno(sent.error().value));
    }
    const std::size_t gone = sent.value_or(0);
    counters_.sent_bytes += gone;
    if (gone == size) co_return SendResult{};
    spans[0] = {static_cast<std::byte*>(spans[0].iov_base) + gone, spans[0].iov_len - gone};
    data.give_back_lease();
    spans = data.data();
  }
  std::size_t rest = 0;
  for (const iovec& span : spans) rest += span.iov_len;
  Result<> sent = co_await socket_.send_all(spans);
  if (!sent) co_return std::unexpected(RecordError::from_errno(sent.error().value));
  counters_.sent_bytes += rest;
  co_return SendResult{};
}

Task<RecordLayer::SendResult> PlainRecords::send_fin() {
  Result<> shut = co_await socket_.shutdown_write();
  if (!shut) co_return std::unexpected(RecordError::from_errno(shut.error().value));
  co_return SendResult{};
}

}  // namespace

std::unique_ptr<RecordLayer> plain_records(iouring::Socket socket, RecordPools& pools) {
  return std::make_unique<PlainRecords>(std::move(socket), pools);
}

}  // namespace sallyport::ktls
