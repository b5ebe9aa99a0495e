#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <vector>

#include "iouring/block_pool.h"
#include "iouring/socket.h"
#include "iouring/task.h"
#include "ktls/records/chunk.h"
#include "ktls/records/record_layer.h"
#include "ktls/records/record_protection.h"
#include "ktls/records/write_lock.h"

namespace sallyport::ktls {

/// The sending half of a connection whose records are made in userspace. A writer to the socket
/// holds the lock, so that records never interleave.
///
/// Control records of the receiving half (KeyUpdate answers, alerts) are sealed at once, which
/// fixes their place in the sequence: behind what is being written, before what is sealed next.
/// They are queued; the receiving half never waits for a sender or a full socket, because a peer
/// that does not read before it was read from would then block both ends.
class RecordWriter {
 public:
  using SendResult = RecordLayer::SendResult;

  /// The transmit direction of `state` goes on here. All references but `state` must outlive this.
  RecordWriter(iouring::Socket& socket, const RecordPools& pools, RecordCounters& counters,
               const SessionState& state) noexcept
      : socket_(socket),
        blocks_(pools.blocks),
        counters_(counters),
        write_lock_(socket.ring()),
        sealer_(pools.contexts, state.suite, state.tx, state.version, state.max_fragment) {}
  RecordWriter(const RecordWriter&) = delete;
  RecordWriter& operator=(const RecordWriter&) = delete;

  /// As RecordLayer::send().
  iouring::Task<SendResult> send(Chunk data);
  /// Seals close_notify or a fatal alert as the last record, and writes it. TCP may keep it until
  /// the FIN, 200 ms at most: the caller shuts the socket down, or closes it, at once.
  iouring::Task<SendResult> send_alert(AlertLevel level, AlertDescription description);

  // For the receiving half. None of these waits for the peer.
  /// Queues the answer to a request for new keys: a KeyUpdate, in TLS 1.2 the warning
  /// no_renegotiation. One answer that is not sent yet answers any number of requests (RFC 8446
  /// 4.6.3).
  void queue_answer();
  /// Queues the last record, unless there was one already.
  void queue_alert(AlertLevel level, AlertDescription description);
  /// The peer's data ended with `failure`: no data may follow, and the alert that RFC 8446 names,
  /// if any, is queued as the last record.
  void end_after(RecordFailure failure);
  /// Records are queued, and no flush was tried since they were or since reset_flush_due().
  bool flush_due() const noexcept { return flush_due_; }
  void reset_flush_due() noexcept { flush_due_ = !queued_.empty(); }
  /// Writes the queued records if the lock is free and the socket has room; else they are written
  /// with the next data, or by the next try_flush().
  /// Not inlined: its frame would become part of that of its caller (clang elides the allocation).
  [[gnu::noinline]] iouring::Task<void> try_flush();

  /// Nothing is being written or queued, and data may still follow.
  bool at_rest() const noexcept {
    return state_ == State::kOpen && !write_lock_.held() && queued_.empty();
  }
  DirectionState export_state() const { return sealer_.export_state(); }
  std::uint16_t max_fragment() const noexcept { return sealer_.max_fragment(); }
  /// Under the present key.
  std::uint64_t sealed_records() const noexcept { return sealer_.next_record(); }

 private:
  enum class State : std::uint8_t {
    kOpen,
    kEnded,  ///< close_notify or a fatal alert was sealed or received: no data may follow
    kTorn,   ///< a write was cut short: nothing may follow
  };

  std::expected<std::size_t, RecordError> seal_next(PlaintextCursor& content,
                                                    std::span<std::byte> out);
  void queue(ContentType type, std::span<const std::byte> message);
  [[gnu::noinline]] iouring::Task<SendResult> flush(int flags = 0);
  void rekey();
  void queue_alert_record(AlertLevel level, AlertDescription description);
  bool key_exhausted() const noexcept {
    return sealer_.version() == RecordVersion::kTls12 && sealer_.key_update_due();
  }
  std::unexpected<RecordError> torn(RecordError error) noexcept;

  iouring::Socket& socket_;
  iouring::BlockPool& blocks_;
  RecordCounters& counters_;
  WriteLock write_lock_;
  RecordSealer sealer_;
  std::vector<std::byte> queued_;  ///< sealed control records, to be written before any other
  State state_ = State::kOpen;
  bool answer_queued_ = false;  ///< queued_ holds a KeyUpdate, or no_renegotiation
  bool flush_due_ = false;
};

}  // namespace sallyport::ktls
