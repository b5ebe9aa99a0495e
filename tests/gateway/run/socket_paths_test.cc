#include "gateway/run/socket_paths.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <optional>
#include <string>

#include "tests/support/temp_dir.h"

namespace sallyport::gateway {
namespace {

class SocketPathsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(dir_ / "run/inner");
    std::filesystem::create_directory_symlink(dir_ / "run", dir_ / "link");
  }
  void egress(const std::string& path) {
    options_.egress.push_back(*parse_egress_address("unix:" + (dir_ / path).string() + "=users"));
  }
  void admin(const std::string& path) {
    options_.admin.push_back(*parse_admin_address("unix:" + (dir_ / path).string()));
  }
  [[nodiscard]] std::optional<std::string> shared() const { return find_shared_socket(options_); }

  test::TempDir dir_;
  Options options_;
};

TEST_F(SocketPathsTest, RefusesAnAdminSocketInThePlaceOfAnEgress) {
  for (const char* spelling :
       {"run/one.sock", "run/../run/one.sock", "run//./one.sock", "link/one.sock"}) {
    options_ = {};
    egress("run/one.sock");
    admin(spelling);
    EXPECT_EQ(shared(), "--admin " + options_.admin[0].text +
                            " leads to the same socket as --egress " + options_.egress[0].text);
  }
}

TEST_F(SocketPathsTest, RefusesTwoOfOneFlag) {
  egress("run/one.sock");
  egress("link/one.sock");
  EXPECT_TRUE(shared());
  options_ = {};
  admin("link/inner/../one.sock");
  admin("run/one.sock");
  EXPECT_TRUE(shared());
}

TEST_F(SocketPathsTest, LetsDifferentOnesBe) {
  egress("run/one.sock");
  egress("run/inner/one.sock");
  admin("run/two.sock");
  options_.admin.push_back(*parse_admin_address("127.0.0.1:9464"));
  options_.admin.push_back(*parse_admin_address("[::1]:9464"));
  EXPECT_EQ(shared(), std::nullopt);
}

TEST_F(SocketPathsTest, LeavesADirectoryThatIsMissingToBind) {
  egress("none/one.sock");
  admin("none/one.sock");
  EXPECT_EQ(shared(), std::nullopt);
}

}  // namespace
}  // namespace sallyport::gateway
