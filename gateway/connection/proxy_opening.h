// The PROXY header with which a backend's connection begins.
#pragma once

#include <cstddef>
#include <expected>
#include <span>
#include <string>
#include <vector>

#include "gateway/connection/client.h"
#include "iouring/result.h"
#include "iouring/socket.h"

namespace sallyport::gateway {

/// By the rule of the client's route, which has one: what the log says of the client, its address,
/// and its `certificate` in DER (empty: not at hand). Client::records is there, and an ordinary
/// descriptor. The error says why there is no header; that is counted.
[[nodiscard]] std::expected<std::vector<std::byte>, std::string> make_proxy_header(
    Client& client, std::span<const std::byte> certificate);

/// Sends all of it, or fails: nobody can tell what is a part of it. `more`: the client's bytes are
/// sent at once, and go with it in a segment. Does not wait, since nothing was sent on `backend`
/// before. Counted. EAGAIN: it was taken in part.
[[nodiscard]] iouring::Result<> send_proxy_header(ShardState& shard, const iouring::Socket& backend,
                                                  std::span<const std::byte> header, bool more);

}  // namespace sallyport::gateway
