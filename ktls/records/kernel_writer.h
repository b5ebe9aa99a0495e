#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "iouring/socket.h"
#include "iouring/task.h"
#include "ktls/keys/traffic_secret.h"
#include "ktls/records/chunk.h"
#include "ktls/records/record_layer.h"
#include "ktls/records/write_lock.h"

namespace sallyport::ktls {

/// The sending half of a connection whose records the kernel makes (TLS_TX is set). A writer holds
/// the lock, so that no record comes between a KeyUpdate and the change of the key.
///
/// Control records of the receiving half (KeyUpdate answers, alerts) are queued. A flush is tried
/// at once; if the lock is held or the socket is full, they are sent before or behind the next
/// data. The receiving half never waits for a sender or a full socket.
class KernelWriter {
 public:
  using SendResult = RecordLayer::SendResult;

  /// `state`: what TLS_TX is set to, by the caller, before anything is sent. `can_rekey`:
  /// KernelTls's, and false in TLS 1.2. `stream_start`: the place in TCP's stream
  /// (bytes_given_to_tcp()) where the kernel's records begin. All references but `state` must
  /// outlive this.
  KernelWriter(iouring::Socket& socket, RecordCounters& counters, const SessionState& state,
               bool can_rekey, std::uint64_t stream_start) noexcept
      : socket_(socket),
        counters_(counters),
        write_lock_(socket.ring()),
        records_(state.tx.rec_seq),
        stream_end_(stream_start),
        secret_(state.tx.secret()),
        suite_(state.suite),
        max_fragment_(state.max_fragment),
        version_(state.version),
        can_rekey_(can_rekey) {}
  KernelWriter(const KernelWriter&) = delete;
  KernelWriter& operator=(const KernelWriter&) = delete;

  /// As RecordLayer::send().
  iouring::Task<SendResult> send(Chunk data);
  /// Sends a fatal alert, or close_notify, as the last record.
  iouring::Task<SendResult> send_alert(AlertLevel level, AlertDescription description);
  /// close_notify, then SHUT_WR as soon as TCP has every byte.
  iouring::Task<SendResult> close();
  /// SHUT_WR as soon as TCP has every byte.
  iouring::Task<SendResult> shut();

  // For the receiving half. None of these waits for the peer.
  /// Queues the answer to a request for new keys: a KeyUpdate, which needs can_rekey, in TLS 1.2
  /// the warning no_renegotiation. One answer that is not sent yet answers any number of requests
  /// (RFC 8446 4.6.3).
  void queue_answer() noexcept;
  /// Queues the last record, unless there was one already.
  void queue_alert(AlertLevel level, AlertDescription description) noexcept;
  /// The peer's data ended with `failure`: no data may follow, and the alert that RFC 8446 names,
  /// if any, is queued as the last record.
  void end_after(RecordFailure failure) noexcept;
  /// The receiving half found the socket dead. A send would succeed once more: the kernel would
  /// seal the records and drop them.
  void mark_dead() noexcept { state_ = State::kDead; }
  /// Receiving is over, but the kernel goes on parsing what arrives: it may leave an error on the
  /// socket that fails the next send, once.
  void expect_input_error() noexcept { input_error_expected_ = true; }
  /// Records are queued, and no flush was tried since they were or since reset_flush_due().
  bool flush_due() const noexcept { return flush_due_; }
  void reset_flush_due() noexcept { flush_due_ = has_queued(); }
  /// Sends the queued records if the lock is free and the socket has room; else they are sent with
  /// the next data, or by the next try_flush().
  [[gnu::noinline]] iouring::Task<void> try_flush();

  /// Nothing is being sent or queued, and data may still follow.
  bool at_rest() const noexcept {
    return state_ == State::kOpen && !write_lock_.held() && !has_queued();
  }
  const TrafficSecret& secret() const noexcept { return secret_; }
  std::uint16_t max_fragment() const noexcept { return max_fragment_; }
  /// Under the present key.
  std::uint64_t sealed_records() const noexcept { return records_; }

 private:
  enum class State : std::uint8_t {
    kOpen,
    kEnded,  ///< close_notify or a fatal alert was sent or received: no data may follow
    kTorn,   ///< data was cut short: only a fatal alert may follow
    kDead,   ///< the socket failed
  };

  bool has_queued() const noexcept { return answer_queued_ || alert_queued_; }
  bool may_flush() const noexcept { return has_queued() && state_ != State::kDead; }
  [[gnu::noinline]] iouring::Task<SendResult> flush(int flags);
  [[gnu::noinline]] iouring::Task<SendResult> rekey(int flags);
  [[gnu::noinline]] iouring::Task<SendResult> send_alert_record(AlertLevel level,
                                                                AlertDescription description,
                                                                int flags);
  [[gnu::noinline]] iouring::Task<SendResult> prepare_for_data();
  [[gnu::noinline]] iouring::Task<SendResult> send_control(ContentType type,
                                                           std::span<const std::byte> content,
                                                           int flags);
  [[gnu::noinline]] iouring::Task<SendResult> wait_for_tcp(int descriptor);
  bool key_update_due() const noexcept { return records_ >= record_limit(suite_); }
  bool limited() const noexcept { return max_fragment_ < kMaxPlaintextSize; }
  void count(std::size_t content) noexcept;
  std::unexpected<RecordError> failed(iouring::Errno error) noexcept;
  bool ignore_input_error(iouring::Errno error) noexcept;

  iouring::Socket& socket_;
  RecordCounters& counters_;
  WriteLock write_lock_;
  std::uint64_t records_;     ///< sealed under this key: the next sequence number
  std::uint64_t stream_end_;  ///< where in TCP's stream the next record begins
  TrafficSecret secret_;
  CipherSuite suite_;
  std::uint16_t max_fragment_;
  RecordVersion version_;
  AlertLevel alert_level_{};
  AlertDescription alert_{};
  State state_ = State::kOpen;
  bool can_rekey_;
  bool answer_queued_ = false;
  bool alert_queued_ = false;
  bool flush_due_ = false;
  bool input_error_expected_ = false;
};

}  // namespace sallyport::ktls
