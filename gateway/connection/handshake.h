// From a whole ClientHello to a client that has proven its identity: the phase handshake.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "gateway/connection/fair_slots.h"
#include "gateway/connection/handshake_memory.h"
#include "gateway/connection/refusal.h"
#include "gateway/connection/shard_state.h"
#include "gateway/policy/policy.h"
#include "iouring/cancel.h"
#include "iouring/deadline.h"
#include "iouring/idle_worker.h"
#include "iouring/socket.h"
#include "iouring/task.h"
#include "ktls/handshake/client_hello.h"
#include "ktls/handshake/server_handshake.h"

namespace sallyport::gateway {

class LiveConnection;
struct ShardState;

/// A client until its records begin; freed then. From the first byte on the handshake either waits,
/// within --handshake-memory, or has work, for which it holds a slot of --max-handshakes. OpenSSL's
/// objects are made only once the ClientHello is whole.
struct Handshake final : HandshakeMemory::Holder {
  /// The handshake timeout begins. `its_connection` outlives it.
  Handshake(LiveConnection& its_connection, iouring::Socket its_socket);

  /// The handshake waits from now on, for the client or for a slot: the slot that it holds is given
  /// back, and its memory is counted. May shed handshakes, also this one. Call it again when the
  /// memory changes.
  void wait();
  /// There is work from now on, under `its_slot`; memory is no longer counted.
  void work(FairSlots::Slot its_slot);
  /// OpenSSL's part was freed, or there is none: gives back the slot, and counts nothing any more.
  void end();

  LiveConnection& connection;
  iouring::Socket socket;
  iouring::CancelScope scope;  ///< cancelled by the timeout, and with the connection
  iouring::Deadline deadline;
  std::vector<std::byte> unread;  ///< came with a PROXY header, or where one or a request may be
  bool asked_for_tls = false;     ///< by PostgreSQL's SSLRequest, and was told to begin
  ktls::ClientHelloFragments received;         ///< until `tls` is made
  std::unique_ptr<ktls::ServerHandshake> tls;  ///< once the ClientHello is whole
  FairSlots::Slot slot;
  // In force when OpenSSL got the ClientHello; used in all phases.
  Policy::Pointer policy;
  TlsContexts contexts;
  bool answered = false;       ///< something was sent to the client
  bool authenticated = false;  ///< the client has proven its identity

 private:
  void on_shed() noexcept override;
};

/// Answers the ClientHello, whose route is known, and goes on until the client is authenticated:
/// LiveConnection::peer(). OpenSSL's steps, up to half a millisecond each, are the idle worker's.
/// When a refusal is returned, OpenSSL's alert has been sent, if there is one.
[[nodiscard]] iouring::Task<RefusalPtr> complete_handshake(Client& client);

// For the phases around it.

/// The idle worker, for a call of OpenSSL that creates, advances or frees a handshake. The worker's
/// thread takes these steps while any established connection is busy, else the loop does, since
/// nothing waits for the loop then. The loop must take none beside the thread, however short:
/// OpenSSL's locks are glibc's rwlocks, on which a writer spins while another one is preempted
/// between two stores, and a thread under SCHED_IDLE is preempted for as long as the loop spins
/// (100 to 300 ms, about once in ten seconds of a handshake storm).
[[nodiscard]] iouring::IdleWorker& worker_for_step(ShardState& shard);

/// Sends OpenSSL's output; the handshake waits from here on, see Handshake::wait(). Errors: of
/// Socket::send_all().
[[nodiscard]] iouring::Task<iouring::Result<>> send_output(Handshake& handshake);
/// Waits, and feeds what arrives until OpenSSL can go on; then holds a slot again. Errors: of
/// Socket::recv(), or kEndOfFile.
[[nodiscard]] iouring::Task<iouring::Result<>> receive_more(ShardState& shard,
                                                            Handshake& handshake);
/// Among errno values: the client ended its side.
inline constexpr int kEndOfFile = 0;
/// The client stopped in the middle, or was stopped by the handshake timeout (ECANCELED).
[[nodiscard]] RefusalPtr interrupted(int error);
/// After ServerHandshake::Step::kFailed.
[[nodiscard]] RefusalPtr refused_by_tls(const ktls::ServerHandshake& tls);

}  // namespace sallyport::gateway
