#include "gateway/run/server_contexts.h"

#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <utility>

namespace sallyport::gateway {
namespace {

// Not their addresses: those differ from machine to machine, where the service is the same.
std::string set_of_ports(std::span<const ListenAddress> listen) {
  std::set<std::uint16_t> ports;
  for (const ListenAddress& each : listen) ports.insert(each.address.port());
  std::string joined;
  for (const std::uint16_t port : ports) joined += std::to_string(port) + "\n";
  return joined;
}

}  // namespace

std::vector<Snapshot::CredentialsPointer> for_clients(
    const Policy& policy, std::vector<Snapshot::CredentialsPointer> credentials) {
  for (std::size_t files = 1; files < credentials.size(); ++files) {  // the first serve every hello
    if (std::ranges::find(policy.routes(), files, &Route::files) == policy.routes().end())
      credentials[files].reset();
  }
  return credentials;
}

ServerContexts::ServerContexts(std::span<const ListenAddress> listen, std::size_t shards)
    : listeners_(set_of_ports(listen)), shards_(shards) {}

std::expected<std::vector<TlsContexts>, std::string> ServerContexts::renew(
    const std::vector<Snapshot::CredentialsPointer>& credentials) {
  if (credentials == latest_) return {};
  // A handshake changes between contexts of one library only.
  std::vector<Snapshot::CredentialsPointer> used = credentials;
  std::erase(used, nullptr);
  OSSL_LIB_CTX* const library = ktls::library_for(used);
  std::map<Snapshot::CredentialsPointer, Contexts> made;
  for (const auto& each : used) {
    const auto known = made_.find(each);
    if (known != made_.end() && library == library_) {
      made.insert(*known);
      continue;
    }
    const auto shared = std::ranges::find_if(
        made, [&each](const auto& other) { return other.first->shares_trust_with(*each); });
    auto contexts = make(each, library, shared == made.end() ? nullptr : &shared->second);
    if (!contexts) return std::unexpected(std::move(contexts.error()));
    made.emplace(each, *std::move(contexts));
  }
  std::vector<TlsContexts> of_shards(shards_);
  for (std::size_t shard = 0; shard < shards_; ++shard) {
    auto all = std::make_shared<std::vector<std::shared_ptr<ktls::ServerContext>>>();
    for (const auto& each : credentials) all->push_back(each ? made.at(each)[shard] : nullptr);
    of_shards[shard] = std::move(all);
  }
  latest_ = credentials;
  library_ = library;
  made_ = std::move(made);
  return of_shards;
}

std::expected<ServerContexts::Contexts, std::string> ServerContexts::make(
    const Snapshot::CredentialsPointer& credentials, OSSL_LIB_CTX* library,
    const Contexts* of_same_trust) const {
  Contexts contexts;
  for (std::size_t i = 0; i < shards_; ++i) {
    const ktls::ServerContext* const other =
        of_same_trust == nullptr ? nullptr : (*of_same_trust)[i].get();
    auto context = ktls::ServerContext::create(credentials, listeners_,
                                               {.library = library, .of_same_trust = other});
    if (!context) return std::unexpected(context.error().message());
    contexts.push_back(*std::move(context));
  }
  return contexts;
}

}  // namespace sallyport::gateway
