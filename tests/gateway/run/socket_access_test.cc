#include "gateway/run/socket_access.h"

#include <gtest/gtest.h>
#include <pwd.h>
#include <unistd.h>

namespace sallyport::gateway {
namespace {

std::expected<SocketFile::Access, std::string> access_of(const std::string& settings,
                                                         const std::string& user = {}) {
  return socket_access(parse_egress_address("unix:/run/a.sock=a" + settings).value(), user);
}

TEST(SocketAccess, IsOursAloneWhereNothingIsSaid) {
  const auto access = access_of("");
  ASSERT_TRUE(access);
  EXPECT_EQ(access->mode, 0600U);
  EXPECT_FALSE(access->owner);
  EXPECT_FALSE(access->group);
}

// It is made by root, who gives its rights up later.
TEST(SocketAccess, IsOfTheUserThatTheGatewayBecomes) {
  const passwd* const nobody = ::getpwnam("nobody");
  ASSERT_NE(nobody, nullptr);
  if (nobody->pw_uid == ::geteuid()) GTEST_SKIP() << "needs another user than nobody";
  const auto access = access_of("", "nobody");
  ASSERT_TRUE(access) << access.error();
  EXPECT_EQ(access->owner, nobody->pw_uid);
  EXPECT_EQ(access->group, nobody->pw_gid);
  const auto given = access_of(",owner=54321,group=54322", "nobody");
  ASSERT_TRUE(given) << given.error();
  EXPECT_EQ(given->owner, 54'321U);
  EXPECT_EQ(given->group, 54'322U);
}

TEST(SocketAccess, TakesNamesAndNumbers) {
  const auto named = access_of(",mode=0660,owner=root,group=root");
  ASSERT_TRUE(named) << named.error();
  EXPECT_EQ(named->mode, 0660U);
  EXPECT_EQ(named->owner, 0U);
  EXPECT_EQ(named->group, 0U);
  const auto numbered = access_of(",group=54322,owner=54321");
  ASSERT_TRUE(numbered) << numbered.error();
  EXPECT_EQ(numbered->owner, 54'321U);
  EXPECT_EQ(numbered->group, 54'322U);
}

// The last number is -1 for chown(2), which changes nothing then.
TEST(SocketAccess, RefusesWhoIsUnknown) {
  for (const char* owner : {"no-such-user", "-1", "4294967295", "4294967296", "0x10"}) {
    const auto access = access_of(std::string(",owner=") + owner);
    ASSERT_FALSE(access) << owner;
    EXPECT_EQ(access.error(), std::string("no such owner: ") + owner);
  }
  for (const char* group : {"no-such-group", "4294967295"}) {
    const auto access = access_of(std::string(",group=") + group);
    ASSERT_FALSE(access) << group;
    EXPECT_EQ(access.error(), std::string("no such group: ") + group);
  }
}

}  // namespace
}  // namespace sallyport::gateway
