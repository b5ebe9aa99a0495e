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

std::expected<std::vector<std::shared_ptr<ktls::ServerContext>>, std::string> make_server_contexts(
    const std::shared_ptr<const ktls::Credentials>& credentials,
    std::span<const ListenAddress> listen, std::size_t count) {
  const std::string listeners = listener_set(listen);
  std::vector<std::shared_ptr<ktls::ServerContext>> contexts;
  for (std::size_t i = 0; i < count; ++i) {
    auto context = ktls::ServerContext::create(credentials, listeners);
    if (!context) return std::unexpected(context.error().message());
    contexts.push_back(*std::move(context));
  }
  return contexts;
}

}  // namespace sallyport::gateway
