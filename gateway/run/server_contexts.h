#pragma once

#include <cstddef>
#include <expected>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "gateway/connection/shard_state.h"
#include "gateway/connection/snapshot.h"
#include "gateway/run/option_values.h"
#include "ktls/handshake/server_context.h"

namespace sallyport::gateway {

/// `credentials`, those of policy.files(), with null for those by which no client is judged.
[[nodiscard]] std::vector<Snapshot::CredentialsPointer> for_clients(
    const Policy& policy, std::vector<Snapshot::CredentialsPointer> credentials);

/// Makes the TLS contexts of the shards, and new ones for new credentials only: with a context a
/// shard loses the chains that it has seen. Control thread only.
class ServerContexts {
 public:
  /// The set of ports of `listen` is part of what tickets are bound to, whatever its order:
  /// gateways of one fleet, each on an address of its own, take each other's tickets.
  ServerContexts(std::span<const ListenAddress> listen, std::size_t shards);

  /// Those of each shard, one for each of `credentials` (for_clients()), null for null; none if the
  /// latest are of these already. The error is OpenSSL's.
  [[nodiscard]] std::expected<std::vector<TlsContexts>, std::string> renew(
      const std::vector<Snapshot::CredentialsPointer>& credentials);

 private:
  using Contexts = std::vector<std::shared_ptr<ktls::ServerContext>>;  // one for each shard

  /// `of_same_trust`: those of other credentials; null: there are none.
  [[nodiscard]] std::expected<Contexts, std::string> make(
      const Snapshot::CredentialsPointer& credentials, OSSL_LIB_CTX* library,
      const Contexts* of_same_trust) const;

  std::string listeners_;
  std::size_t shards_;
  std::vector<Snapshot::CredentialsPointer> latest_;
  OSSL_LIB_CTX* library_ = nullptr;                        // of the latest
  std::map<Snapshot::CredentialsPointer, Contexts> made_;  // of the latest
};

}  // namespace sallyport::gateway
