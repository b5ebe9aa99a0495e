// Keys are read as the user that the gateway is, or becomes (--user): at the start as at a reload,
// by --check as by a start.
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "tests/e2e/scenario.h"
#include "tests/support/proc.h"

namespace sallyport::test {
namespace {

constexpr char kUser[] = "nobody";
constexpr unsigned kPodUser = 54'321, kPodGroup = 54'322;

class KeyFiles : public Scenario {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root, to become another user";
    const passwd* user = ::getpwnam(kUser);
    if (user == nullptr) GTEST_SKIP() << "needs a user " << kUser;
    user_ = user->pw_uid;
    ASSERT_EQ(::chmod(dir.path().c_str(), 0755), 0);  // the files in it are what is judged
    discover({backend_.address()});
  }

  std::string key_of(unsigned user, unsigned group, unsigned mode) const {
    const std::string file = dir.replace("tls.key", server.key_pem, mode);
    EXPECT_EQ(::chown(file.c_str(), user, group), 0);
    return file;
  }
  std::vector<std::string> with_key(const std::string& key, std::vector<std::string> given = {}) {
    given.insert(given.end(), {"--cert", dir.write("tls.crt", server.chain_pem), "--key", key});
    return flags(std::move(given));
  }
  // As a pod runs: a user that the system does not know, in a group that volumes are given to.
  Finished check_in_pod(const std::string& key) {
    std::vector<std::string> argv{"setpriv",
                                  "--reuid",
                                  std::to_string(kPodUser),
                                  "--regid",
                                  std::to_string(kPodUser),
                                  "--groups",
                                  std::to_string(kPodGroup),
                                  sallyport_program(),
                                  "--check"};
    const std::vector<std::string> all = with_key(key);
    argv.insert(argv.end(), all.begin(), all.end());
    return run(argv);
  }

  Backend backend_{echo()};
  unsigned user_ = 0;
};

TEST_F(KeyFiles, OfTheLaterUserAreReadAtTheStartAndAtAReload) {
  const std::string key = key_of(user_, 0, 0600);
  gateway = std::make_unique<Gateway>(with_key(key, {"--user", kUser}));
  EXPECT_TRUE(served());

  const double before = reloads("success", "credentials");
  server = root.issue({.cn = "renewed", .dns = {"orders.example.org"}});
  key_of(user_, 0, 0600);
  dir.replace("tls.crt", server.chain_pem);
  wait_reload("success", before, "credentials");
  EXPECT_TRUE(served());
}

TEST_F(KeyFiles, ThatTheLaterUserCannotReadAreAnErrorAtOnce) {
  const std::string key = key_of(0, 0, 0600);
  for (const bool check : {false, true}) {
    std::vector<std::string> all = with_key(key, {"--user", kUser});
    if (check) all.emplace_back("--check");
    const Finished refused = run_sallyport(all);
    EXPECT_EQ(refused.status, 2);
    EXPECT_NE(refused.err.find(key), std::string::npos) << refused.err;
    EXPECT_NE(refused.err.find("cannot be opened by user nobody"), std::string::npos)
        << refused.err;
  }
}

TEST_F(KeyFiles, AreCheckedAsTheUserThatTheGatewayWouldBe) {
  const Finished own =
      run_sallyport(with_key(key_of(user_, 0, 0400), {"--user", kUser, "--check"}));
  EXPECT_EQ(own.status, 0) << own.err;
  const Finished other = run_sallyport(with_key(key_of(user_, 0, 0400), {"--check"}));
  EXPECT_EQ(other.status, 2) << "root would be another user than the owner";
  EXPECT_NE(other.err.find("belongs to user nobody"), std::string::npos) << other.err;
}

// Volumes of Kubernetes with fsGroup, systemd's credentials, Debian's ssl-cert.
TEST_F(KeyFiles, OfAGroupOfOursAreReadWithAWarning) {
  for (const unsigned mode : {0440U, 0640U}) {
    const Finished good = check_in_pod(key_of(0, kPodGroup, mode));
    EXPECT_EQ(good.status, 0) << good.err;
    EXPECT_NE(good.err.find("may also be read by group 54322"), std::string::npos) << good.err;
  }
  EXPECT_EQ(check_in_pod(key_of(0, kPodGroup, 0460)).status, 2);
  EXPECT_EQ(check_in_pod(key_of(0, kPodGroup, 0444)).status, 2);
  EXPECT_EQ(check_in_pod(key_of(kPodUser + 5, kPodGroup, 0440)).status, 2);
}

TEST_F(KeyFiles, AnUnknownUserIsAnErrorOfTheConfiguration) {
  for (const bool check : {false, true}) {
    std::vector<std::string> all = flags({"--user", "no-such-user-here"});
    if (check) all.emplace_back("--check");
    const Finished refused = run_sallyport(all);
    EXPECT_EQ(refused.status, 2);
    EXPECT_NE(refused.err.find("no-such-user-here: no such user"), std::string::npos)
        << refused.err;
  }
}

// A thread takes this from the one that starts it: one thread without it could gain root again.
TEST_F(KeyFiles, NoThreadMayGainPrivileges) {
  start();
  for (const auto& task : std::filesystem::directory_iterator(
           "/proc/" + std::to_string(gateway->process().pid()) + "/task")) {
    EXPECT_EQ(proc_number(task.path() / "status", "NoNewPrivs:"), 1) << task.path();
  }
}

}  // namespace
}  // namespace sallyport::test
