// The gateway gives up what it does not need before it meets a client: privileges that it could
// gain, core dumps, files beyond the directories that it was told of. A reload that asks for more
// is refused and says why. Every other scenario runs confined, too.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/e2e/scenario.h"
#include "tests/support/proc.h"

namespace sallyport::test {
namespace {

namespace fs = std::filesystem;

class ConfinedGateway : public Scenario {
 protected:
  void SetUp() override {
    discover({backend_.address()});
    write_pair(dir);
    write_pair(elsewhere_);
    put_policy(dir);
  }

  void write_pair(const TempDir& directory) {
    directory.write("tls.crt", server.chain_pem);
    directory.write_secret("tls.key", server.key_pem);
  }
  // The certificate of the route is in this directory.
  void put_policy(const fs::path& directory) {
    dir.replace("policy.json", R"({"credentials": {"own": {"cert": ")" +
                                   (directory / "tls.crt").string() + R"(", "key": ")" +
                                   (directory / "tls.key").string() +
                                   R"("}}, "routes": {"orders": {"credentials": "own", )"
                                   R"("allow": ["spiffe://example.org/**"]}}})");
  }
  void put_policy(const TempDir& directory) { put_policy(directory.path()); }

  void start_with_policy(std::vector<std::string> given = {}) {
    given.insert(given.end(), {"--policy", (dir / "policy.json").string()});
    start(given);
  }
  bool is_confined() {
    const std::string line = gateway->wait_err({"confined"});
    return line.find("\"confined\"") != std::string::npos;
  }
  void expect_refused_reload(const std::string& source, double before) {
    wait_reload("failure", before, source);
    gateway->wait_err({"reload refused", (elsewhere_ / "tls.crt").string(),
                       "outside what this process confined itself to at start: restart or exchange "
                       "it"});
    EXPECT_TRUE(served());
  }

  TempDir elsewhere_;
  Backend backend_{echo()};
};

constexpr char kNoLandlock[] = "this kernel has no Landlock";

TEST_F(ConfinedGateway, GainsNoPrivilegeAndLeavesNoCore) {
  start_with_policy();
  const std::string pid = std::to_string(gateway->process().pid());
  for (const auto& task : fs::directory_iterator("/proc/" + pid + "/task"))
    EXPECT_EQ(proc_number(task.path() / "status", "NoNewPrivs:"), 1) << task.path();
  std::ifstream limits("/proc/" + pid + "/limits");
  const std::string text{std::istreambuf_iterator<char>(limits), {}};
  EXPECT_NE(text.find("Max core file size        0                    0"), std::string::npos)
      << text;
}

TEST_F(ConfinedGateway, RefusesAPolicyThatNamesAnotherDirectory) {
  start_with_policy();
  if (!is_confined()) GTEST_SKIP() << kNoLandlock;
  const double failures = reloads("failure", "policy");
  put_policy(elsewhere_);
  expect_refused_reload("policy", failures);

  const double before = reloads("success", "policy");
  fs::create_directory(dir / "deeper");
  fs::copy(dir / "tls.crt", dir / "deeper/tls.crt");
  fs::copy(dir / "tls.key", dir / "deeper/tls.key");
  put_policy(dir / "deeper");
  wait_reload("success", before, "policy");
  EXPECT_TRUE(served());
}

TEST_F(ConfinedGateway, RefusesALinkThatIsTurnedToAnotherDirectory) {
  start_with_policy();
  if (!is_confined()) GTEST_SKIP() << kNoLandlock;
  const double failures = reloads("failure", "credentials");
  fs::create_symlink(elsewhere_ / "tls.crt", dir / "next");
  fs::rename(dir / "next", dir / "tls.crt");
  wait_reload("failure", failures, "credentials");
  gateway->wait_err({"reload refused", "tls.crt", "outside what this process confined itself to"});
  EXPECT_TRUE(served());
}

TEST_F(ConfinedGateway, TakesAnotherDirectoryWhereItIsNotConfined) {
  start_with_policy({"--confine", "off"});
  gateway->wait_err({"not confined to its files", "--confine off"});
  const double before = reloads("success", "policy");
  put_policy(elsewhere_);
  wait_reload("success", before, "policy");
  EXPECT_TRUE(served());
}

}  // namespace
}  // namespace sallyport::test
