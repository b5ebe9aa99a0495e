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

/// Makes the TLS contexts of the shards, and new ones for new credentials only: with a context a
/// shard loses the chains that it has seen. The contexts themselves belong to the shards.
class ServerContexts {
 public:
  /// The set of `listen` addresses is part of what tickets are bound to, whatever its order:
  /// gateways with the same listeners take each other's tickets.
  ServerContexts(std::span<const ListenAddress> listen, std::size_t shards);

  /// One for each shard, all of the same credentials; none if the latest are of these credentials
  /// already. The error is OpenSSL's.
  [[nodiscard]] std::expected<std::vector<std::shared_ptr<ktls::ServerContext>>, std::string> renew(
      const std::shared_ptr<const ktls::Credentials>& credentials);

 private:
  std::string listeners_;
  std::size_t shards_;
  std::shared_ptr<const ktls::Credentials> latest_;
};

}  // namespace sallyport::gateway
