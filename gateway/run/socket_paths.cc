#include "gateway/run/socket_paths.h"

#include <sys/stat.h>
#include <sys/un.h>

#include <filesystem>
#include <map>
#include <tuple>
#include <utility>

#include "iouring/address.h"

namespace sallyport::gateway {
namespace {

// A directory and a name in it. bind(2) follows no symbolic link behind the last '/'.
using Place = std::tuple<dev_t, ino_t, std::string>;

std::optional<Place> place_of(const iouring::SocketAddress& unix_address) {
  const std::filesystem::path path(
      reinterpret_cast<const sockaddr_un*>(unix_address.data())->sun_path);
  struct stat directory{};
  if (::stat(path.parent_path().c_str(), &directory) != 0) return std::nullopt;
  return Place(directory.st_dev, directory.st_ino, path.filename().string());
}

}  // namespace

std::optional<std::string> find_shared_socket(const Options& options) {
  std::map<Place, std::string> flags;
  const auto taken = [&flags](const iouring::SocketAddress& address,
                              std::string flag) -> std::optional<std::string> {
    if (!address.is_unix()) return std::nullopt;
    auto place = place_of(address);
    if (!place) return std::nullopt;
    const auto [other, is_new] = flags.emplace(*std::move(place), flag);
    if (is_new) return std::nullopt;
    return std::move(flag) + " leads to the same socket as " + other->second;
  };
  for (const EgressAddress& egress : options.egress)
    if (auto shared = taken(egress.address, "--egress " + egress.text)) return shared;
  for (const AdminAddress& admin : options.admin)
    if (auto shared = taken(admin.address, "--admin " + admin.text)) return shared;
  return std::nullopt;
}

}  // namespace sallyport::gateway
