#include "gateway/run/server_contexts.h"

#include <set>
#include <utility>

namespace sallyport::gateway {
namespace {

std::string listener_set(std::span<const ListenAddress> listen) {
  std::set<std::string> texts;
  for (const ListenAddress& each : listen) texts.insert(each.text);
  std::string joined;
  for (const std::string& text : texts) joined += text + "\n";
  return joined;
}

}  // namespace

ServerContexts::ServerContexts(std::span<const ListenAddress> listen, std::size_t shards)
    : listeners_(listener_set(listen)), shards_(shards) {}

std::expected<std::vector<std::shared_ptr<ktls::ServerContext>>, std::string> ServerContexts::renew(
    const std::shared_ptr<const ktls::Credentials>& credentials) {
  std::vector<std::shared_ptr<ktls::ServerContext>> contexts;
  if (credentials == latest_) return contexts;
  for (std::size_t i = 0; i < shards_; ++i) {
    auto context = ktls::ServerContext::create(credentials, listeners_);
    if (!context) return std::unexpected(context.error().message());
    contexts.push_back(*std::move(context));
  }
  latest_ = credentials;
  return contexts;
}

}  // namespace sallyport::gateway
