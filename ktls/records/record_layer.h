#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "iouring/block_pool.h"
#include "iouring/buffer_ring.h"
#include "iouring/socket.h"
#include "iouring/task.h"
#include "ktls/keys/traffic_secret.h"
#include "ktls/records/chunk.h"
#include "ktls/records/cipher_contexts.h"
#include "ktls/records/received.h"
#include "ktls/records/record.h"
#include "ktls/records/record_error.h"
#include "ktls/records/ticket_sink.h"

namespace sallyport::ktls {

/// Where the records of one direction are made.
enum class RecordModel : std::uint8_t { kPlain, kUserspace, kKernel };
std::string_view to_string(RecordModel model) noexcept;  ///< plain, userspace, kernel

/// The pools of a shard that its record layers use. All must outlive every layer, Chunk and
/// Received.
struct RecordPools {
  /// Provided buffers: an idle connection waits without one. `small` is for connections whose last
  /// message was small, `whole` for the others: it has room for any record, so that one of 16 KiB
  /// arrives in one piece.
  iouring::BufferRing& small;
  iouring::BufferRing& whole;
  iouring::BlockPool& blocks;  ///< for flows that are busy
  CipherContexts& contexts;
};

/// For RecordPools::whole. Larger than any record, so that none fills it: for some sockets a full
/// buffer means that there is more. Few, because the memory pooled while idle is to stay small; a
/// receive that finds none waits for a lease to end.
inline constexpr std::size_t kWholeBytes = 20 * 1024;
inline constexpr unsigned kWholeCount = 16;
static_assert(kWholeBytes > kMaxRecordSize);

class Arrival;

/// Totals since construction.
struct RecordCounters {
  std::uint64_t received_bytes = 0;  ///< plaintext delivered by receive()
  std::uint64_t sent_bytes = 0;  ///< plaintext accepted by the socket, counted at the end of send()
  std::uint32_t key_updates_received = 0;
  std::uint32_t key_updates_sent = 0;
};

/// The record contract: application data and its end, independent of what makes the records. The
/// relay is written once against it; plain TCP, userspace AEAD and kernel TLS are its models.
///
/// Concurrency: one receive() and one send() (or send_close(), send_alert()) may run at the same
/// time, in two coroutines of one shard. Two receives or two sends at once are a broken invariant.
/// The control records that receive() itself sends (KeyUpdate answers, alerts) never interleave
/// with a send.
///
/// Cancellation: a receive() that was cancelled (kFailed with kCancelled) lost nothing and may be
/// called again. A send cancelled under way leaves a torn stream: later sends fail with kPipe.
///
/// The destructor closes the socket; no operation may be under way then.
class RecordLayer {
 public:
  using SendResult = std::expected<void, RecordError>;

  virtual ~RecordLayer() = default;
  RecordLayer(const RecordLayer&) = delete;
  RecordLayer& operator=(const RecordLayer&) = delete;

  /// Waits for application data or its end. KeyUpdates and tickets are handled inside. The order is
  /// the peer's: data that came before an end or an error is delivered first, and the end or error
  /// by the next call; it then stays (each later call returns it again at once).
  ///
  /// If the peer caused the error (bad MAC, overflow, ...), sending the fatal alert that RFC 8446
  /// names was tried before kFailed is returned. It is not waited for: behind a send that is still
  /// under way it is sent when that send ends.
  ///
  /// While nothing arrives the connection holds no buffer at all, unless a record is unfinished.
  iouring::Task<Received> receive();

  /// receive() in two steps, for a caller that idles: the wait needs no frame but the caller's own.
  ///   Arrival arrival = layer.arrival();
  ///   co_await arrival;
  ///   Received received = co_await layer.take(arrival);
  /// What arrived has left the socket and must be taken next. take() returns kData of no size if
  /// there is nothing to deliver yet: wait for the next arrival.
  [[nodiscard]] Arrival arrival() noexcept;
  virtual iouring::Task<Received> take(Arrival& arrival) = 0;

  /// Sends all of `data`, which is kept until the socket has taken the last byte. Answers to
  /// KeyUpdates, and KeyUpdates that RFC 8446 5.5 requires, are sent in between. An empty chunk is
  /// done at once. Errors: kReset, kPipe (also: after send_close(), after an earlier failure),
  /// kSocket, kCancelled, kSequenceExhausted, kInternal; the sending side is then dead.
  virtual iouring::Task<SendResult> send(Chunk data) = 0;

  /// Ends the sending side cleanly: close_notify where there is TLS, then SHUT_WR. Receiving goes
  /// on. A second call, and a call after a failed send, does nothing but SHUT_WR.
  virtual iouring::Task<SendResult> send_close() = 0;

  /// Ends the sending side without close_notify, so that the peer knows that it was cut: SHUT_WR
  /// behind every byte that was sent.
  virtual iouring::Task<SendResult> send_fin() = 0;

  /// Sends a fatal alert (no SHUT_WR). TCP may keep it until the FIN, 200 ms at most: the caller
  /// shuts the socket down, or closes it, at once. A plain layer has none to send and succeeds.
  /// Sending data afterwards fails with kPipe.
  virtual iouring::Task<SendResult> send_alert(AlertDescription description) = 0;

  /// Secrets and sequence numbers, for an export; nothing for a plain layer. Meaningful while no
  /// operation is under way, together with unopened().
  virtual std::optional<SessionState> export_state() const = 0;

  /// Bytes taken from the socket but not delivered: whole and partial records (ciphertext) of TLS,
  /// leftover bytes of a plain layer. An export carries them; valid until the next receive().
  virtual std::span<const std::byte> unopened() const noexcept = 0;

  /// For a client's layer: receive() gives the tickets that the server sends to `sink`, which is
  /// freed once it wants no more, at the server's first data, or at the end; null frees it before.
  /// hand_to_kernel() keeps it. A plain layer has no tickets and frees it at once. Between
  /// operations, or while one waits.
  virtual void collect_tickets(std::unique_ptr<TicketSink> sink) noexcept = 0;
  /// The sink, if it is still there.
  virtual std::unique_ptr<TicketSink> release_tickets() noexcept = 0;

  /// Whether another model could take over now: no operation under way, no control record queued,
  /// no handshake message half received, and neither direction has ended.
  virtual bool at_rest() const noexcept = 0;

  virtual RecordModel rx_model() const noexcept = 0;
  virtual RecordModel tx_model() const noexcept = 0;

  iouring::Socket& socket() noexcept { return socket_; }
  const RecordCounters& counters() const noexcept { return counters_; }

 protected:
  RecordLayer(iouring::Socket socket, RecordPools& pools) noexcept
      : socket_(std::move(socket)), pools_(pools) {}

  /// Nothing is to be done before more arrives, and it is not known that much is waiting.
  virtual bool may_wait_idle() const noexcept = 0;
  /// Chooses the buffer of the next wait: the next message is likely to be as large as this one,
  /// which was `bytes` taken from the socket.
  void expect_as_much_as(std::size_t bytes) noexcept {
    expects_whole_ = bytes >= pools_.small.buffer_bytes();
  }

  iouring::Socket socket_;
  RecordPools& pools_;
  RecordCounters counters_;

 private:
  bool expects_whole_ = false;
};

/// Waits in the receive of a provided buffer, unless the layer has other work to do first.
class [[nodiscard]] Arrival final {
 public:
  bool await_ready() const noexcept { return !waits_; }
  template <class P>
  bool await_suspend(std::coroutine_handle<P> awaiting) noexcept {
    return receive_.await_suspend(awaiting);
  }
  void await_resume() const noexcept {}

  // For the layer.
  [[nodiscard]] bool waited() const noexcept { return waits_; }
  /// The result of an arrival that waited; call once.
  [[nodiscard]] iouring::Result<iouring::Lease> lease() noexcept { return receive_.await_resume(); }

 private:
  friend class RecordLayer;
  Arrival(iouring::Socket& socket, iouring::BufferRing& buffers, bool waits) noexcept
      : receive_(socket, buffers), waits_(waits) {}

  iouring::RecvLease receive_;
  bool waits_;
};

inline Arrival RecordLayer::arrival() noexcept {
  return {socket_, expects_whole_ ? pools_.whole : pools_.small, may_wait_idle()};
}

}  // namespace sallyport::ktls
