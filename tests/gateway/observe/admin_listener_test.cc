#include "gateway/observe/admin_listener.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "gateway/run/option_values.h"

namespace sallyport::gateway {
namespace {

using testing::HasSubstr;

class AdminListenerFile : public testing::Test {
 protected:
  AdminListenerFile() {
    if (::mkdtemp(directory_.data()) == nullptr) std::abort();
  }
  ~AdminListenerFile() override {
    ::unlink(path().c_str());
    ::rmdir(directory_.c_str());
  }

  [[nodiscard]] std::string path() const { return directory_ + "/admin.sock"; }
  [[nodiscard]] AdminAddress address(const std::string& more = "") const {
    return parse_admin_address("unix:" + path() + more).value();
  }
  [[nodiscard]] mode_t mode() const {
    struct stat file{};
    return ::lstat(path().c_str(), &file) == 0 ? file.st_mode : 0;
  }

 private:
  std::string directory_ = testing::TempDir() + "admin_XXXXXX";
};

TEST_F(AdminListenerFile, HasTheModeAskedForWhateverTheUmask) {
  const mode_t before = ::umask(0077);
  {
    const auto listener = AdminListener::bind(address(",mode=0660"));
    ASSERT_TRUE(listener) << listener.error();
    EXPECT_EQ(mode(), S_IFSOCK | 0660U);
  }
  ::umask(0);
  {
    const auto listener = AdminListener::bind(address());
    ASSERT_TRUE(listener) << listener.error();
    EXPECT_EQ(mode(), S_IFSOCK | 0600U);
  }
  ::umask(before);
}

TEST_F(AdminListenerFile, IsRemovedAtTheEndOfItsListenerOnly) {
  {
    auto listener = AdminListener::bind(address());
    ASSERT_TRUE(listener);
    const AdminListener moved = *std::move(listener);
    listener = std::unexpected("moved");
    EXPECT_NE(mode(), 0U);
  }
  EXPECT_EQ(mode(), 0U);
}

TEST_F(AdminListenerFile, ReplacesASocketThatNoProcessListensOn) {
  const AdminAddress at = address();
  const iouring::FileDescriptor dead(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::bind(dead.get(), at.address.data(), at.address.size()), 0);
  EXPECT_TRUE(AdminListener::bind(at));
}

TEST_F(AdminListenerFile, RefusesASocketThatIsListenedOn) {
  const auto first = AdminListener::bind(address());
  const auto second = AdminListener::bind(address());
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error(), HasSubstr("Address already in use"));
  EXPECT_THAT(second.error(), HasSubstr(path()));
  EXPECT_NE(mode(), 0U);
}

TEST_F(AdminListenerFile, RefusesToReplaceAFile) {
  std::ofstream(path()) << "precious";
  const auto listener = AdminListener::bind(address());
  ASSERT_FALSE(listener);
  EXPECT_THAT(listener.error(), HasSubstr("no socket"));
  EXPECT_EQ(mode() & S_IFMT, static_cast<mode_t>(S_IFREG));
}

TEST(AdminListener, SaysThatItsAddressIsInUse) {
  const auto first = AdminListener::bind(parse_admin_address("127.0.0.1:0").value());
  ASSERT_TRUE(first);
  const std::string address = first->address().to_string();
  const auto second = AdminListener::bind(parse_admin_address(address).value());
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error(), HasSubstr(address));
  EXPECT_THAT(second.error(), HasSubstr("Address already in use"));
}

TEST(AdminListener, OfIpv6LeavesThePortOfIpv4Alone) {
  bool both = false;
  for (int tries = 0; tries < 20 && !both; ++tries) {  // another process may have that port
    const auto v6 = AdminListener::bind(parse_admin_address("[::]:0").value());
    if (!v6 && ::access("/proc/net/if_inet6", F_OK) != 0) GTEST_SKIP() << "no IPv6";
    ASSERT_TRUE(v6) << v6.error();
    const std::string port = std::to_string(v6->address().port());
    both = AdminListener::bind(parse_admin_address("0.0.0.0:" + port).value()).has_value();
  }
  EXPECT_TRUE(both);
}

}  // namespace
}  // namespace sallyport::gateway
