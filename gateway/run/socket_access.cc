#include "gateway/run/socket_access.h"

#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <cstdint>
#include <limits>
#include <optional>

#include "gateway/policy/number.h"
#include "gateway/run/process.h"

namespace sallyport::gateway {
namespace {

// All bits set is nobody's: to chown(2) it says that nothing is to change.
std::optional<std::uint32_t> parse_id(const std::string& digits) {
  const auto id = parse_number<std::uint32_t>(digits);
  if (id == std::numeric_limits<std::uint32_t>::max()) return std::nullopt;
  return id;
}

std::optional<uid_t> find_owner(const std::string& name) {
  if (const passwd* const entry = ::getpwnam(name.c_str())) return entry->pw_uid;
  return parse_id(name);
}

std::optional<gid_t> find_group(const std::string& name) {
  if (const group* const entry = ::getgrnam(name.c_str())) return entry->gr_gid;
  return parse_id(name);
}

}  // namespace

std::expected<SocketFile::Access, std::string> socket_access(const EgressAddress& egress,
                                                             const std::string& user) {
  SocketFile::Access access{.mode = egress.mode};
  if (!user.empty()) {
    const auto later = find_user(user);
    if (!later) return std::unexpected(later.error());
    if (later->user != ::geteuid()) {
      access.owner = later->user;
      access.group = later->group;
    }
  }
  if (!egress.owner.empty()) {
    access.owner = find_owner(egress.owner);
    if (!access.owner) return std::unexpected("no such owner: " + egress.owner);
  }
  if (!egress.group.empty()) {
    access.group = find_group(egress.group);
    if (!access.group) return std::unexpected("no such group: " + egress.group);
  }
  return access;
}

}  // namespace sallyport::gateway
