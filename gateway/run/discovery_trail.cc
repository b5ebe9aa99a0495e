#include "gateway/run/discovery_trail.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <new>
#include <span>
#include <unordered_map>
#include <utility>

#include "ktls/base/hex.h"
#include "ktls/trust/key_file.h"

namespace sallyport::gateway {
namespace {

std::string sha256_of(std::string_view content) {
  std::array<std::byte, 32> digest{};
  const int made =
      EVP_Digest(content.data(), content.size(), reinterpret_cast<unsigned char*>(digest.data()),
                 nullptr, EVP_sha256(), nullptr);
  if (made != 1) throw std::bad_alloc();
  return ktls::encode_hex(digest);
}

}  // namespace

WrittenFile::WrittenFile(const struct stat& status, std::string_view content,
                         std::chrono::sys_seconds now)
    : uid(status.st_uid),
      owner(ktls::user_name(status.st_uid)),
      modified(std::chrono::seconds(status.st_mtim.tv_sec)),
      bytes(content.size()),
      sha256(sha256_of(content)),
      read(now) {}

void DiscoveryTrail::begin_with(const Discovery& kept, std::chrono::sys_seconds now) {
  for (const DiscoveredRoute& route : kept.routes)
    routes_[route.name] = {.since = now, .kept = true};
}

void DiscoveryTrail::read(std::optional<WrittenFile> file) {
  if (file && file_ && file->sha256 == file_->sha256) file->read = file_->read;
  file_ = std::move(file);
}

void DiscoveryTrail::took(const Discovery* before, const Discovery& next,
                          std::chrono::sys_seconds now) {
  std::unordered_map<std::string_view, const DiscoveredRoute*> had;
  if (before != nullptr) {
    for (const DiscoveredRoute& route : before->routes) had.emplace(route.name, &route);
  }
  std::map<std::string, Route, std::less<>> routes;
  for (const DiscoveredRoute& route : next.routes) {
    const auto earlier = had.find(route.name);
    const bool same = earlier != had.end() && earlier->second->targets == route.targets;
    const auto known = routes_.find(route.name);
    Route entry{.since = now};
    if (same && known != routes_.end()) entry.since = known->second.since;
    entry.kept = route.refused && known != routes_.end() && known->second.kept;
    routes.emplace(route.name, entry);
  }
  routes_ = std::move(routes);
}

std::size_t DiscoveryTrail::kept_routes() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(routes_, [](const auto& route) { return route.second.kept; }));
}

}  // namespace sallyport::gateway
