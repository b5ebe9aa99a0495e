#include "ktls/trust/key_file.h"

#include <endian.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <set>
#include <span>
#include <system_error>
#include <vector>

#include "iouring/file_descriptor.h"

namespace sallyport::ktls {
namespace {

// One line of an access control list, after its mask.
struct Grant {
  enum class To { kOwner, kUser, kGroup, kWorld };
  To to = To::kOwner;
  unsigned id = 0;           // of the user or group
  unsigned permissions = 0;  // ACL_READ, ACL_WRITE, ACL_EXECUTE

  bool operator==(const Grant&) const = default;
};

std::vector<Grant> grants_of_mode(const struct stat& status) {
  const unsigned mode = status.st_mode;
  return {{Grant::To::kOwner, status.st_uid, mode >> 6 & 7},
          {Grant::To::kGroup, status.st_gid, mode >> 3 & 7},
          {Grant::To::kWorld, 0, mode & 7}};
}

std::vector<Grant> grants_of_acl(std::span<const posix_acl_xattr_entry> entries,
                                 const struct stat& status) {
  unsigned mask = 7;
  for (const auto& entry : entries) {
    if (le16toh(entry.e_tag) == ACL_MASK) mask = le16toh(entry.e_perm);
  }
  std::vector<Grant> grants;
  for (const auto& entry : entries) {
    const unsigned id = le32toh(entry.e_id);
    const unsigned permissions = le16toh(entry.e_perm);
    switch (le16toh(entry.e_tag)) {
      case ACL_USER_OBJ:
        grants.push_back({Grant::To::kOwner, status.st_uid, permissions});
        break;
      case ACL_USER:
        grants.push_back({Grant::To::kUser, id, permissions & mask});
        break;
      case ACL_GROUP_OBJ:
        grants.push_back({Grant::To::kGroup, status.st_gid, permissions & mask});
        break;
      case ACL_GROUP:
        grants.push_back({Grant::To::kGroup, id, permissions & mask});
        break;
      case ACL_MASK:
        break;
      default:
        grants.push_back({Grant::To::kWorld, 0, permissions});
    }
  }
  return grants;
}

// acl(5). Nothing where the list cannot be read or is of an unknown form.
std::optional<std::vector<Grant>> grants(int descriptor, const struct stat& status) {
  struct {
    posix_acl_xattr_header header;
    std::array<posix_acl_xattr_entry, 64> entries;
  } acl{};
  static_assert(sizeof acl == sizeof acl.header + sizeof acl.entries);
  const ssize_t size = ::fgetxattr(descriptor, "system.posix_acl_access", &acl, sizeof acl);
  const bool none = size < 0 && (errno == ENODATA || errno == EOPNOTSUPP || errno == ENOSYS);
  if (none) return grants_of_mode(status);
  if (size < 0 || le32toh(acl.header.a_version) != POSIX_ACL_XATTR_VERSION) return std::nullopt;
  const std::size_t count =
      (static_cast<std::size_t>(size) - sizeof acl.header) / sizeof acl.entries[0];
  return grants_of_acl(std::span(acl.entries).first(count), status);
}

bool is_ours(gid_t group) {
  if (group == ::getegid()) return true;
  std::vector<gid_t> groups(static_cast<std::size_t>(std::max(::getgroups(0, nullptr), 0)));
  const int count = ::getgroups(static_cast<int>(groups.size()), groups.data());
  return count >= 0 && std::ranges::find(groups, group) != groups.end();
}

std::string group_name(gid_t group) {
  const struct group* entry = ::getgrgid(group);
  return entry != nullptr ? entry->gr_name : std::to_string(group);
}

// Members of a group but us, as far as the user database enumerates them.
std::size_t other_members(gid_t group) {
  std::set<std::string> members;
  if (const struct group* entry = ::getgrgid(group)) {
    for (char** member = entry->gr_mem; *member != nullptr; ++member) members.insert(*member);
  }
  ::setpwent();
  while (const passwd* entry = ::getpwent()) {
    if (entry->pw_gid == group) members.insert(entry->pw_name);
  }
  ::endpwent();
  members.erase(user_name(::geteuid()));
  return members.size();
}

std::string mode_text(const struct stat& status) {
  char mode[8];
  std::snprintf(mode, sizeof mode, "%04o", static_cast<unsigned>(status.st_mode & 07777));
  return std::string("mode ") + mode;
}

bool is_trusted(uid_t user) {
  return user == 0 || user == ::geteuid();
}

std::optional<std::string> fault_of(const Grant& grant, const struct stat& status) {
  if (grant.permissions == 0) return std::nullopt;
  switch (grant.to) {
    case Grant::To::kOwner:
      return std::nullopt;  // judged by itself
    case Grant::To::kUser:
      if (is_trusted(grant.id)) return std::nullopt;
      return "its ACL lets user " + user_name(grant.id) + " use it";
    case Grant::To::kWorld:
      return mode_text(status) + " lets every user use it (chmod 600)";
    case Grant::To::kGroup:
      break;
  }
  const std::string group = "group " + group_name(grant.id);
  if ((grant.permissions & ACL_WRITE) != 0) {
    return mode_text(status) + " lets " + group + " write it (chmod 640 or 600)";
  }
  if ((grant.permissions & ACL_READ) != 0 && !is_ours(grant.id)) {
    return mode_text(status) + " lets " + group + " read it, which user " + user_name(::geteuid()) +
           " does not belong to (chmod 600)";
  }
  return std::nullopt;
}

}  // namespace

std::string user_name(uid_t user) {
  const passwd* entry = ::getpwuid(user);
  return entry != nullptr ? entry->pw_name : std::to_string(user);
}

std::optional<std::string> key_file_fault(int descriptor) {
  struct stat status{};
  if (::fstat(descriptor, &status) != 0) return std::string(std::strerror(errno));
  if (!is_trusted(status.st_uid)) {
    return "belongs to user " + user_name(status.st_uid) +
           ", which is neither root nor the user of this process, " + user_name(::geteuid());
  }
  const auto all = grants(descriptor, status);
  if (!all) return std::string("has an ACL that cannot be read");
  for (const Grant& grant : *all) {
    if (auto fault = fault_of(grant, status)) return fault;
  }
  return std::nullopt;
}

std::optional<std::string> key_directory_fault(const std::string& file) {
  std::error_code error;
  const auto absolute = std::filesystem::absolute(file, error);
  const auto real = std::filesystem::canonical(file, error);
  for (const auto& path : {absolute, real}) {
    const std::string directory = path.parent_path();
    struct stat status{};
    if (directory.empty() || ::stat(directory.c_str(), &status) != 0) continue;
    if ((status.st_mode & S_IWOTH) != 0 && (status.st_mode & S_ISVTX) == 0) {
      return "lies in " + directory + ", where every user may put another file in its place (" +
             mode_text(status) + ")";
    }
  }
  return std::nullopt;
}

std::optional<std::string> key_file_readers(const std::string& file) {
  const iouring::FileDescriptor descriptor(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status{};
  if (!descriptor || ::fstat(descriptor.get(), &status) != 0) return std::nullopt;
  if (key_file_fault(descriptor.get())) return std::nullopt;
  std::string text;
  for (const Grant& grant : grants(descriptor.get(), status).value_or(std::vector<Grant>{})) {
    if (grant.to != Grant::To::kGroup || (grant.permissions & ACL_READ) == 0) continue;
    const std::size_t others = other_members(grant.id);
    text += (text.empty() ? "group " : ", group ") + group_name(grant.id) + " (" +
            std::to_string(others) + (others == 1 ? " other member)" : " other members)");
  }
  if (text.empty()) return std::nullopt;
  return file + " may also be read by " + text;
}

}  // namespace sallyport::ktls
