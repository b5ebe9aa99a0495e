#pragma once

#include <cstddef>
#include <expected>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gateway/connection/shard_state.h"
#include "gateway/policy/policy.h"
#include "ktls/handshake/client_context.h"
#include "ktls/trust/credentials.h"

namespace sallyport::gateway {

/// Makes the contexts by which some threads do TLS with backends, each thread by its own, and new
/// ones for new credentials only. Control thread only.
class ClientContexts {
 public:
  explicit ClientContexts(std::size_t threads) : threads_(threads) {}

  /// Those of each thread, one for each route of `policy`; `credentials` are those of
  /// policy.files(). The error is OpenSSL's, and what was made before stays.
  [[nodiscard]] std::expected<std::vector<BackendContexts>, std::string> renew(
      const Policy& policy,
      const std::vector<std::shared_ptr<const ktls::Credentials>>& credentials);

 private:
  using Presents = ktls::ClientContext::Presents;
  using Contexts = std::vector<std::shared_ptr<ktls::ClientContext>>;  // one for each thread
  using Key = std::pair<std::shared_ptr<const ktls::Credentials>, Presents>;

  [[nodiscard]] std::expected<Contexts, std::string> make(const Key& key) const;

  std::size_t threads_;
  std::map<Key, Contexts> made_;  // of the latest
};

}  // namespace sallyport::gateway
