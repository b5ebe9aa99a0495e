#include "gateway/run/client_contexts.h"

#include <optional>

namespace sallyport::gateway {

std::expected<std::vector<BackendContexts>, std::string> ClientContexts::renew(
    const Policy& policy,
    const std::vector<std::shared_ptr<const ktls::Credentials>>& credentials) {
  using OfRoutes = std::vector<std::shared_ptr<ktls::ClientContext>>;
  std::map<Key, Contexts> made;
  std::vector<std::shared_ptr<OfRoutes>> of_threads;
  of_threads.reserve(threads_);
  for (std::size_t thread = 0; thread < threads_; ++thread)
    of_threads.push_back(std::make_shared<OfRoutes>(policy.routes().size()));
  for (std::size_t route = 0; route < policy.routes().size(); ++route) {
    const std::optional<BackendTls>& tls = policy.routes()[route].backend_tls;
    if (!tls) continue;
    const Key key{credentials[tls->files],
                  tls->presents_certificate ? Presents::kCertificates : Presents::kNothing};
    auto contexts = made.find(key);
    if (contexts == made.end()) {
      auto fresh = make(key);
      if (!fresh) return std::unexpected(std::move(fresh.error()));
      contexts = made.emplace(key, *std::move(fresh)).first;
    }
    for (std::size_t thread = 0; thread < threads_; ++thread)
      (*of_threads[thread])[route] = contexts->second[thread];
  }
  made_ = std::move(made);
  return std::vector<BackendContexts>(of_threads.begin(), of_threads.end());
}

std::expected<ClientContexts::Contexts, std::string> ClientContexts::make(const Key& key) const {
  if (const auto known = made_.find(key); known != made_.end()) return known->second;
  Contexts contexts;
  for (std::size_t i = 0; i < threads_; ++i) {
    auto context = ktls::ClientContext::create(key.first, key.second);
    if (!context) return std::unexpected(context.error().message());
    contexts.push_back(*std::move(context));
  }
  return contexts;
}

}  // namespace sallyport::gateway
