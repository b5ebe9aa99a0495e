#pragma once

#include <cstddef>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "gateway/run/option_values.h"
#include "ktls/handshake/server_context.h"

namespace sallyport::gateway {

/// One TLS context for each of `count` shards, made of the same credentials. The set of `listen`
/// addresses is part of what tickets are bound to, whatever its order: gateways with the same
/// listeners take each other's tickets. The error is OpenSSL's.
[[nodiscard]] std::expected<std::vector<std::shared_ptr<ktls::ServerContext>>, std::string>
make_server_contexts(const std::shared_ptr<const ktls::Credentials>& credentials,
                     std::span<const ListenAddress> listen, std::size_t count);

}  // namespace sallyport::gateway
