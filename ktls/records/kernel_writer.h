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

/// The sending half of a connection whose records the kernel makes (TLS_TX is set). Whoever
/// writes holds the turn, so that nothing comes between a KeyUpdate and the change of the key. What
/// the receiving half owes the peer goes out with the next turn, and is offered at once: it never
/// waits behind a sender or a full socket.
class KernelOutlet {
 public:
  using SendResult = RecordLayer::SendResult;

  /// `tx`: what TLS_TX is set to, by the caller, before anything is sent. `can_rekey`: KernelTls's,
  /// and false in TLS 1.2.
  /// All references must outlive this.
  KernelOutlet(iouring::Socket& socket, RecordCounters& counters, CipherSuite suite,
               const DirectionState& tx, RecordVersion version, bool can_rekey) noexcept
      : socket_(socket),
        counters_(counters),
        turn_(socket.ring()),
        records_(tx.rec_seq),
        secret_(tx.secret),
        suite_(suite),
        version_(version),
        can_rekey_(can_rekey) {}
  KernelOutlet(const KernelOutlet&) = delete;
  KernelOutlet& operator=(const KernelOutlet&) = delete;

  /// The place in TCP's stream (bytes_given_to_tcp()) where the kernel's records begin.
  void starts_at(std::uint64_t bytes) noexcept { stream_ = bytes; }

  /// As RecordLayer::send().
  iouring::Task<SendResult> send(Chunk data);
  /// Sends a fatal alert, or close_notify, as the last record.
  iouring::Task<SendResult> end(AlertLevel level, AlertDescription description);
  /// close_notify, then SHUT_WR as soon as TCP has every byte.
  iouring::Task<SendResult> close();

  // For the receiving half. None of these waits for the peer.
  /// Answers a KeyUpdate; needs can_rekey. However many asked: one answer that is not out yet
  /// answers all (RFC 8446 4.6.3).
  void owe_key_update() noexcept;
  /// The last record, unless there was one already.
  void owe_alert(AlertLevel level, AlertDescription description) noexcept;
  /// The peer ended the connection: nothing may follow.
  void abandon() noexcept;
  /// The receiving half found the socket dead. To be told, for a send would succeed once more: the
  /// kernel seals the records and drops them.
  void give_up() noexcept { state_ = State::kDead; }
  /// Receiving is over, but the kernel goes on looking at what arrives: it may leave an error on
  /// the socket that fails the next send, once.
  void expect_input_error() noexcept { input_error_expected_ = true; }
  /// Something is owed that has not been offered to the socket since the last consider().
  bool offer_due() const noexcept { return offer_due_; }
  void consider() noexcept { offer_due_ = owes(); }
  /// Sends what is owed if nobody is sending and the socket has room; else it goes out with the
  /// next send, or the next offer.
  [[gnu::noinline]] iouring::Task<void> offer();

  /// Nobody is sending, nothing is owed, data may still follow.
  bool at_rest() const noexcept { return state_ == State::kOpen && !turn_.taken() && !owes(); }
  const TrafficSecret& secret() const noexcept { return secret_; }

 private:
  enum class State : std::uint8_t {
    kOpen,
    kEnded,  ///< close_notify or a fatal alert was sent or received: no data may follow
    kTorn,   ///< data was cut short: nothing may follow but a fatal alert
    kDead,   ///< the socket failed
  };

  bool owes() const noexcept { return answer_owed_ || alert_owed_; }
  bool may_pay() const noexcept { return owes() && state_ != State::kDead; }
  [[gnu::noinline]] iouring::Task<SendResult> pay(int flags);
  [[gnu::noinline]] iouring::Task<SendResult> turn_key(int flags);
  [[gnu::noinline]] iouring::Task<SendResult> make_way();
  [[gnu::noinline]] iouring::Task<SendResult> send_control(ContentType type,
                                                           std::span<const std::byte> content,
                                                           int flags);
  [[gnu::noinline]] iouring::Task<SendResult> flush(int descriptor);
  bool key_update_due() const noexcept { return records_ >= record_limit(suite_); }
  void count(std::size_t content) noexcept;
  std::unexpected<RecordError> failed(iouring::Errno error) noexcept;
  bool forgive(iouring::Errno error) noexcept;

  iouring::Socket& socket_;
  RecordCounters& counters_;
  Turn turn_;
  std::uint64_t records_;     ///< sealed under this key: the next sequence number
  std::uint64_t stream_ = 0;  ///< where in TCP's stream the next record begins
  TrafficSecret secret_;
  CipherSuite suite_;
  RecordVersion version_;
  AlertLevel alert_level_{};
  AlertDescription alert_{};
  State state_ = State::kOpen;
  bool can_rekey_;
  bool answer_owed_ = false;
  bool alert_owed_ = false;
  bool offer_due_ = false;
  bool input_error_expected_ = false;
};

}  // namespace sallyport::ktls
