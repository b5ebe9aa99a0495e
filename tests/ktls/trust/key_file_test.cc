// Files of every owner and mode, as the users of this machine make them.
#include "ktls/trust/key_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/net.h"
#include "tests/support/temp_dir.h"

namespace sallyport::ktls {
namespace {

using ::testing::HasSubstr;

constexpr unsigned kForeign = 54'321;  // a user and group that this process has nothing to do with

constexpr char kAcl[] = "system.posix_acl_access";
constexpr unsigned kNoId = ~0U;

class KeyFile : public ::testing::Test {
 protected:
  // The fault of a file with this mode, or "".
  std::string fault(unsigned mode) {
    file_ = dir_.write("key", "x", mode);
    return fault();
  }
  std::string fault() const {
    const test::Fd descriptor(::open(file_.c_str(), O_RDONLY | O_CLOEXEC));
    return key_file_fault(descriptor.get()).value_or("");
  }
  // Of a file with this owner, group and mode.
  std::string fault(unsigned user, unsigned group, unsigned mode) {
    file_ = dir_.write("key", "x", mode);
    EXPECT_EQ(::chown(file_.c_str(), user, group), 0);
    return fault();
  }
  // Of a file of mode 0600 that its list of access lets one more user or group read.
  std::string fault_with_acl(unsigned short tag, unsigned id, unsigned short mask = ACL_READ) {
    file_ = dir_.write("key", "x", 0600);
    std::vector<posix_acl_xattr_entry> entries{{ACL_USER_OBJ, ACL_READ | ACL_WRITE, kNoId},
                                               {ACL_GROUP_OBJ, 0, kNoId},
                                               {ACL_MASK, mask, kNoId},
                                               {ACL_OTHER, 0, kNoId}};
    entries.insert(entries.begin() + (tag == ACL_USER ? 1 : 2), {tag, ACL_READ, id});
    posix_acl_xattr_header header{.a_version = POSIX_ACL_XATTR_VERSION};
    std::string value(reinterpret_cast<const char*>(&header), sizeof header);
    value.append(reinterpret_cast<const char*>(entries.data()), entries.size() * sizeof entries[0]);
    EXPECT_EQ(::setxattr(file_.c_str(), kAcl, value.data(), value.size(), 0), 0);
    return fault();
  }
  bool has_acls() {
    const auto file = dir_.write("acl", "x", 0600);
    char value[8];
    return ::getxattr(file.c_str(), kAcl, value, sizeof value) >= 0 || errno != EOPNOTSUPP;
  }

  test::TempDir dir_;
  std::filesystem::path file_;
};

TEST_F(KeyFile, IsForItsOwnerAlone) {
  for (const unsigned mode : {0600U, 0400U, 0700U}) EXPECT_EQ(fault(mode), "") << mode;
}

TEST_F(KeyFile, IsNotForTheWorld) {
  for (const unsigned mode : {0604U, 0602U, 0601U, 0644U, 0444U})
    EXPECT_THAT(fault(mode), HasSubstr("lets every user use it")) << mode;
}

TEST_F(KeyFile, MayBeReadByAGroupOfOurs) {
  for (const unsigned mode : {0640U, 0440U})
    EXPECT_EQ(fault(::geteuid(), ::getegid(), mode), "") << mode;
  for (const unsigned mode : {0660U, 0460U, 0620U})
    EXPECT_THAT(fault(::geteuid(), ::getegid(), mode), HasSubstr(" write it")) << mode;
}

TEST_F(KeyFile, MayNotBeReadByAGroupThatIsNotOurs) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to give a file to another group";
  EXPECT_THAT(fault(0, kForeign, 0640), HasSubstr("lets group 54321 read it"));
  EXPECT_EQ(fault(0, kForeign, 0600), "");
}

TEST_F(KeyFile, BelongsToRootOrToUs) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to give a file to another user";
  EXPECT_THAT(fault(kForeign, 0, 0600), HasSubstr("belongs to user 54321"));
  EXPECT_THAT(fault(kForeign, 0, 0440), HasSubstr("belongs to user 54321"));
}

TEST_F(KeyFile, IsForNoOtherUserOrGroupByItsAcl) {
  if (!has_acls()) GTEST_SKIP() << "the file system has no POSIX ACLs";
  EXPECT_THAT(fault_with_acl(ACL_USER, kForeign), HasSubstr("lets user 54321 use it"));
  EXPECT_THAT(fault_with_acl(ACL_GROUP, kForeign), HasSubstr("lets group 54321 read it"));
  EXPECT_EQ(fault_with_acl(ACL_USER, ::geteuid()), "");
  EXPECT_EQ(fault_with_acl(ACL_GROUP, ::getegid()), "");
  EXPECT_EQ(fault_with_acl(ACL_USER, kForeign, 0), "") << "the mask leaves it nothing";
}

TEST_F(KeyFile, NamesTheGroupsThatMayReadIt) {
  EXPECT_EQ(fault(0600), "");
  EXPECT_FALSE(key_file_readers(file_));
  EXPECT_EQ(fault(::geteuid(), ::getegid(), 0640), "");
  EXPECT_THAT(key_file_readers(file_).value(), HasSubstr("may also be read by group "));
  EXPECT_THAT(key_file_readers(file_).value(), HasSubstr(" other members)"));
}

TEST_F(KeyFile, LiesWhereNoOtherUserCanReplaceIt) {
  const auto file = dir_.write("key", "x", 0600);
  const test::TempDir links;
  std::filesystem::create_symlink(file, links / "key");
  EXPECT_FALSE(key_directory_fault(file));
  EXPECT_FALSE(key_directory_fault(links / "key"));

  ASSERT_EQ(::chmod(dir_.path().c_str(), 0777), 0);
  EXPECT_THAT(key_directory_fault(file).value(), HasSubstr(dir_.path().string()));
  EXPECT_THAT(key_directory_fault(links / "key").value(), HasSubstr(dir_.path().string()));
  ASSERT_EQ(::chmod(dir_.path().c_str(), 01777), 0);
  EXPECT_FALSE(key_directory_fault(file)) << "sticky: only the owner may";
  ASSERT_EQ(::chmod(links.path().c_str(), 0777), 0);
  EXPECT_THAT(key_directory_fault(links / "key").value(), HasSubstr(links.path().string()));
}

}  // namespace
}  // namespace sallyport::ktls
