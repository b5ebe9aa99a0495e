#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <span>
#include <utility>

#include "ktls/records/userspace_records.h"
#include "tests/ktls/records/scripted_peer_fixture.h"

namespace sallyport::ktls::testing {

/// The layer makes its records in userspace.
class UserspaceRecords : public ScriptedPeerFixture {
 protected:
  void connect(std::span<const std::byte> leftover = {}, Role role = Role::kServer,
               const SessionState& state = session_of(kSuite)) {
    layer_.reset();
    // Unix sockets deliver before send() returns, so that the tests need not wait for bytes.
    iouring::SocketPair sockets = iouring::unix_pair(*shard_.ring);
    wire_ = std::move(sockets.left);
    layer_ = userspace_records(std::move(sockets.right), state, shard_.pools(), leftover, role);
    peer_.emplace(shard_, mirrored(state));
  }

  /// Everything that the layer has put on the wire so far.
  Bytes wire_bytes() {
    Bytes bytes(1 << 20);
    const ssize_t size = ::recv(wire_.descriptor(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    bytes.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
    return bytes;
  }
  Words answers() { return peer_->read(wire_bytes()); }
};

}  // namespace sallyport::ktls::testing
