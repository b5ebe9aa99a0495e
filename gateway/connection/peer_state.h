// What the kernel knows of a peer, and of what was sent to it.
#pragma once

#include <chrono>
#include <optional>

#include "gateway/connection/live_connection.h"
#include "iouring/socket.h"
#include "iouring/task.h"

namespace sallyport::gateway {

struct PeerState {
  /// Everything that was sent, a FIN included, is acknowledged (SIOCOUTQ counts what waits in the
  /// socket and what is under way, tcp(7)). On a unix socket: the peer has read it (unix(7)).
  bool acknowledged = false;

  // By TCP_INFO, to a tick of the kernel's; nothing on a unix socket.

  /// Its FIN has come, or a reset: also where what came before has not been received yet.
  bool ended = false;
  /// Nothing more reaches it: a reset has come, or the kernel has given it up.
  bool gone = false;

  /// Since the last byte came.
  std::optional<std::chrono::milliseconds> silent_for = {};
  /// Since the last byte came or went, repetitions included.
  std::optional<std::chrono::milliseconds> still_for = {};
  /// Since the peer was last heard, an acknowledgement included, where it owes one: to bytes that
  /// were sent since, or to a probe of its window, which a peer answers whose application does not
  /// read. For the length of a round trip a living peer owes as well, after however long a time, so
  /// one look tells nothing.
  std::optional<std::chrono::milliseconds> owes_for = {};
};

/// Nothing if the socket cannot be asked: no descriptor is free, or it was closed. A window of the
/// peer that is shut is probed every 30 s at least from then on, where the kernel can.
[[nodiscard]] iouring::Task<std::optional<PeerState>> peer_state(iouring::Socket& socket);

/// Waits until everything sent to `peer` is acknowledged or the peer is gone, at most
/// Timeouts::longest_linger(): a reset throws away what the kernel has not sent yet, and the peer
/// may be slower than the sender. Ends early where its scope is cancelled.
iouring::Task<void> until_acknowledged(LiveConnection& connection, iouring::Socket& peer);

}  // namespace sallyport::gateway
