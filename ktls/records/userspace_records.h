#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "ktls/keys/traffic_secret.h"
#include "ktls/records/record_layer.h"

namespace sallyport::ktls {

/// TLS records sealed and opened in userspace, with EVP, in the shard's buffers.
///
/// `state`: secrets and sequence numbers as of the end of the handshake, tickets counted. In
/// TLS 1.2 sending ends with kSequenceExhausted and a fatal alert once its key is spent.
/// `leftover`: ciphertext that was read behind the peer's Finished, from the first byte of a record
/// on, perhaps cut in mid-record, at most 64 KiB (more aborts: bound what a handshake reads);
/// copied, and consumed before the socket is read, exactly once.
/// `role`: which end this is. A server refuses NewSessionTicket.
std::unique_ptr<RecordLayer> userspace_records(iouring::Socket socket, const SessionState& state,
                                               RecordPools& pools,
                                               std::span<const std::byte> leftover = {},
                                               Role role = Role::kServer);

}  // namespace sallyport::ktls
