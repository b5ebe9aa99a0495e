#include "ktls/records/kernel_records.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "ktls/records/acknowledge.h"
#include "ktls/records/crypto_info.h"
#include "ktls/records/inbound_state.h"
#include "ktls/records/kernel_tls_options.h"
#include "ktls/records/kernel_writer.h"
#include "ktls/records/receive_watermark.h"
#include "ktls/records/typed_record.h"

namespace sallyport::ktls {
namespace {

using iouring::Block;
using iouring::Lease;
using iouring::Result;
using iouring::Task;

/// What one read takes at most: sixteen full records. Of the instructions of a bulk flow a
/// twentieth goes with the number of reads and sends at four records each (bench/README.md).
constexpr std::size_t kReadSize = 16 * kMaxPlaintextSize;

class KernelRecords final : public RecordLayer {
 public:
  KernelRecords(iouring::Socket socket, const SessionState& state, const KernelTls& kernel,
                RecordPools& pools, Role role, KernelStart start) noexcept
      : RecordLayer(std::move(socket), pools),
        inbound_(role, state.version),
        writer_(socket_, counters_, state,
                kernel.can_rekey() && state.version == RecordVersion::kTls13, start.stream_start),
        watermark_(socket_, kernel.polls_partial_records()),
        leftover_(std::move(start.leftover)),
        rx_secret_(state.rx.secret()),
        suite_(state.suite),
        version_(state.version),
        can_rekey_(kernel.can_rekey()),
        expect_no_pad_(kernel.can_expect_no_pad() && state.version == RecordVersion::kTls13) {
    counters_ = start.counters;
  }

  Task<Received> take(Arrival& arrival) override;
  Task<SendResult> send(Chunk data) override { return writer_.send(std::move(data)); }
  Task<SendResult> send_close() override { return writer_.close(); }
  Task<SendResult> send_fin() override { return writer_.shut(); }
  Task<SendResult> send_alert(AlertDescription description) override {
    return writer_.send_alert(AlertLevel::kFatal, description);
  }
  std::optional<SessionState> export_state() const override;
  std::span<const std::byte> unopened() const noexcept override;
  void collect_tickets(std::unique_ptr<TicketSink> sink) noexcept override {
    inbound_.collect_tickets(std::move(sink));
  }
  std::unique_ptr<TicketSink> release_tickets() noexcept override {
    return inbound_.release_tickets();
  }
  bool at_rest() const noexcept override;
  RecordModel rx_model() const noexcept override { return RecordModel::kKernel; }
  RecordModel tx_model() const noexcept override { return RecordModel::kKernel; }

 private:
  InboundState::Moment moment() const noexcept {
    return {socket_.ring().now(), writer_.sealed_records()};
  }

  // What is not inlined would otherwise be part of the frame of take(), in which a connection waits
  // that was busy lately: the compiler elides the allocation of an inlined coroutine.
  bool may_wait_idle() const noexcept override;
  bool wants_block() const noexcept;
  [[gnu::noinline]] Task<Received> step();
  [[gnu::noinline]] Task<Received> open_leftover();
  [[gnu::noinline]] Task<Received> read_block();
  [[gnu::noinline]] Task<Received> read_control_record();
  [[gnu::noinline]] Task<void> process_control_record(ContentType type,
                                                      std::span<const std::byte> content);
  [[gnu::noinline]] Task<void> install_rx_key(DirectionState rx);
  Received receive_failed(iouring::Errno error) noexcept;
  Received deliver(Result<Lease> lease);
  Received deliver(Block block, std::size_t size);
  bool accept_data(std::span<const std::byte> content);

  InboundState inbound_;
  KernelWriter writer_;
  ReceiveWatermark watermark_;
  std::unique_ptr<LeftoverRecords>
      leftover_;  ///< the kernel has no receive key while this is there
  TrafficSecret rx_secret_;
  CipherSuite suite_;
  RecordVersion version_;
  /// Kernels that can re-key do not report a socket as readable while they hold a KeyUpdate, not
  /// even before it was handed out: behind data it would never be asked for (7.x; 6.12 reports it).
  bool can_rekey_;
  bool expect_no_pad_;
  bool busy_ = false;             ///< the last receive brought more than any lease holds
  bool control_waiting_ = false;  ///< a record is next that only recvmsg(2) hands out
};

// ---- receiving

/// The next receive goes into a block: the flow is busy, or the kernel may report the socket as
/// readable for part of a record. A receive must not be left to the ring then, which would retry it
/// a hundred times and in the end give it a thread.
bool KernelRecords::wants_block() const noexcept {
  return busy_ || socket_.more_waiting() || watermark_.in_doubt();
}

bool KernelRecords::may_wait_idle() const noexcept {
  return !control_waiting_ && !writer_.flush_due() && !leftover_ && !inbound_.ended() &&
         !wants_block();
}

/// The wait for an arrival is a plain receive, which costs less than one that asks for the record's
/// type, and fails once in a connection's life: at the close_notify. Queued control records that
/// could not be sent are tried again after each delivery, not in a loop.
Task<Received> KernelRecords::take(Arrival& arrival) {
  Received received;
  if (arrival.waited()) {
    received = deliver(arrival.lease());
  } else {
    received = co_await step();
  }
  const bool delivers = received.kind != Received::Kind::kData || received.size() != 0;
  if (delivers) writer_.reset_flush_due();
  co_return received;
}

/// One step towards the next data: flush, end, or one read.
Task<Received> KernelRecords::step() {
  if (writer_.flush_due()) co_await writer_.try_flush();
  if (inbound_.ended()) {
    leftover_.reset();
    writer_.expect_input_error();
    if (const auto failure = inbound_.take_failure()) {
      writer_.end_after(*failure);
      co_await writer_.try_flush();
    }
    co_return inbound_.end_of_input();
  }
  Received received;
  if (leftover_) {
    received = co_await open_leftover();
  } else if (control_waiting_) {
    received = co_await read_control_record();
  } else if (wants_block()) {
    received = co_await read_block();
  }
  co_return received;
}

/// A receive failed with an errno, some of which stand for a record.
Received KernelRecords::receive_failed(iouring::Errno error) noexcept {
  switch (error.value) {
    case EIO:
      control_waiting_ = true;
      return {};
    case EBADMSG:
    case EINVAL:  // the version in a header, which the AEAD covers, too
      inbound_.refuse(RecordFailure::kBadRecordMac);
      return {};
    case EMSGSIZE:
      inbound_.refuse(RecordFailure::kRecordOverflow);
      return {};
    case EKEYEXPIRED:  // the kernel saw the beginning of a KeyUpdate that is cut over two records
      inbound_.refuse(RecordFailure::kKeyUpdateUnsupported);
      return {};
    default:
      break;
  }
  Received failed = inbound_.receive_failed(error);
  if (inbound_.ended()) writer_.mark_dead();
  return failed;
}

bool KernelRecords::accept_data(std::span<const std::byte> content) {
  inbound_.process(ContentType::kApplicationData, content, moment());
  if (inbound_.ended()) return false;
  counters_.received_bytes += content.size();
  return true;
}

Received KernelRecords::deliver(Result<Lease> lease) {
  if (!lease) return receive_failed(lease.error());
  if (!*lease) {
    inbound_.end_of_file();
    return {};
  }
  const std::span<std::byte> content = lease->bytes();
  if (!accept_data(content)) return {};
  busy_ = socket_.more_waiting();
  expect_as_much_as(content.size());
  if (can_rekey_) socket_.skip_poll_first();
  return {.kind = Received::Kind::kData, .error = {}, .chunk = Chunk(std::move(*lease), content)};
}

Received KernelRecords::deliver(Block block, std::size_t size) {
  const std::span<std::byte> content = block.bytes().first(size);
  if (!accept_data(content)) return {};
  busy_ = size > kWholeBytes;
  expect_as_much_as(size);
  if (can_rekey_) socket_.skip_poll_first();
  return {.kind = Received::Kind::kData, .error = {}, .chunk = Chunk(std::move(block), content)};
}

/// Reads for a flow that is busy: waits without a buffer, then reads into a block, so that records
/// are decrypted in place instead of being copied in pieces.
Task<Received> KernelRecords::read_block() {
  bool try_first = can_rekey_ || socket_.more_waiting() || watermark_.part_waits();
  while (true) {
    if (std::exchange(try_first, true)) {
      Block block = pools_.blocks.acquire();
      Result<std::size_t> size =
          co_await socket_.recv(block.bytes().first(kReadSize), MSG_DONTWAIT);
      watermark_.lower();
      if (size && *size != 0) co_return deliver(std::move(block), *size);
      if (size) {
        inbound_.end_of_file();
        co_return Received{};
      }
      if (size.error().value != EAGAIN) co_return receive_failed(size.error());
    }
    watermark_.raise();
    Result<> readable = co_await socket_.ready(POLLIN);
    if (!readable) co_return receive_failed(readable.error());
  }
}

/// Reads the record that a plain receive failed on.
Task<Received> KernelRecords::read_control_record() {
  Block block = pools_.blocks.acquire();
  TypedRecordRoom room(block.bytes().first(kReadSize));
  Result<std::size_t> size = co_await socket_.recvmsg(room.message(), MSG_DONTWAIT);
  if (!size && size.error().value == ECANCELED) co_return receive_failed(size.error());
  control_waiting_ = false;
  if (!size && (size.error().value == EAGAIN || size.error().value == EIO)) {
    // A record without content, which the kernel cannot hand out, or an EIO that was not of TLS.
    // Both end the connection, for the next receive would fail in the same way.
    inbound_.refuse(RecordFailure::kUnexpectedMessage);
    co_return Received{};
  }
  if (!size) co_return receive_failed(size.error());
  const std::optional<ContentType> type = room.type();
  if (!type) {
    if (*size == 0) {
      inbound_.end_of_file();
    } else {
      inbound_.refuse(RecordFailure::kInternal);
    }
    co_return Received{};
  }
  if (*type == ContentType::kApplicationData) {
    if (*size == 0) co_return Received{};
    co_return deliver(std::move(block), *size);
  }
  co_await process_control_record(*type, block.bytes().first(*size));
  co_return Received{};
}

/// All messages of the record are parsed before the kernel is asked for more: the kernel looks at
/// the first message alone, and would go on under the old key.
Task<void> KernelRecords::process_control_record(ContentType type,
                                                 std::span<const std::byte> content) {
  inbound_.process(type, content, moment());
  counters_.key_updates_received = inbound_.key_updates();
  const bool answer = inbound_.take_update_request();
  if (inbound_.take_rekey()) {
    if (!can_rekey_) {
      inbound_.refuse(RecordFailure::kKeyUpdateUnsupported);
      co_return;
    }
    co_await install_rx_key({next_secret(suite_, rx_secret_), 0});
  }
  if (answer) writer_.queue_answer();
  // A server with Nagle's algorithm keeps its answer until it has that.
  if (inbound_.take_ticket()) co_await acknowledge(socket_);
}

Task<void> KernelRecords::install_rx_key(DirectionState rx) {
  const CryptoInfo info(version_, suite_, rx.key(suite_, version_), rx.rec_seq);
  Result<> set = co_await socket_.set_option(SOL_TLS, TLS_RX, info.bytes());
  if (!set) {
    inbound_.refuse({.failure = RecordFailure::kInternal, .sys_errno = set.error().value});
  }
  rx_secret_ = rx.secret();
}

// ---- ciphertext that userspace had read ahead

/// Opens the next leftover record; reads the missing bytes of a record that is cut, and not a byte
/// more. Behind the last one the kernel gets the key.
Task<Received> KernelRecords::open_leftover() {
  LeftoverRecords& left = *leftover_;
  if (left.unopened().empty()) {
    co_await install_rx_key(left.export_state());
    leftover_.reset();
    if (expect_no_pad_) {
      const int on = 1;
      [[maybe_unused]] Result<> saves_a_copy = co_await socket_.set_option(
          SOL_TLS, TLS_RX_EXPECT_NO_PAD, std::as_bytes(std::span(&on, 1)));
    }
    co_return Received{};
  }
  const auto room = left.room();
  if (room && !room->empty()) {
    Result<std::size_t> size = co_await socket_.recv(*room);
    if (!size) co_return receive_failed(size.error());
    if (*size == 0) {
      inbound_.end_of_file();
    } else {
      left.filled(*size);
    }
    co_return Received{};
  }
  const auto opened = left.open();
  if (!opened) {
    inbound_.refuse(opened.error());
    co_return Received{};
  }
  if (opened->type == ContentType::kApplicationData) {
    Block block = pools_.blocks.acquire();
    std::ranges::copy(opened->content, block.data());
    co_return deliver(std::move(block), opened->content.size());
  }
  inbound_.process(opened->type, opened->content, moment());
  counters_.key_updates_received = inbound_.key_updates();
  if (inbound_.take_rekey()) left.next_generation();
  if (!inbound_.take_update_request()) co_return Received{};
  if (can_rekey_ || version_ == RecordVersion::kTls12) {
    writer_.queue_answer();
  } else {
    inbound_.refuse(RecordFailure::kKeyUpdateUnsupported);
  }
  co_return Received{};
}

// ---- export

std::optional<SessionState> KernelRecords::export_state() const {
  const int descriptor = socket_.descriptor();
  if (descriptor < 0) return std::nullopt;
  const auto tx = CryptoInfo::next_record(descriptor, TLS_TX, suite_);
  if (!tx) return std::nullopt;
  SessionState state{suite_, {}, {writer_.secret(), *tx}, version_, writer_.max_fragment()};
  if (leftover_) {
    state.rx = leftover_->export_state();
    return state;
  }
  const auto rx = CryptoInfo::next_record(descriptor, TLS_RX, suite_);
  if (!rx) return std::nullopt;
  state.rx = {rx_secret_, *rx};
  return state;
}

std::span<const std::byte> KernelRecords::unopened() const noexcept {
  if (!leftover_) return {};
  return leftover_->unopened();
}

bool KernelRecords::at_rest() const noexcept {
  return socket_.in_flight() == 0 && !inbound_.ended() && !control_waiting_ &&
         !inbound_.mid_message() && writer_.at_rest();
}

}  // namespace

std::unique_ptr<RecordLayer> kernel_records(iouring::Socket socket, const SessionState& state,
                                            const KernelTls& kernel, RecordPools& pools, Role role,
                                            KernelStart start) {
  return std::make_unique<KernelRecords>(std::move(socket), state, kernel, pools, role,
                                         std::move(start));
}

}  // namespace sallyport::ktls
