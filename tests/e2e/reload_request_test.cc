// `systemctl reload` is to fail when a reload was refused, which a signal cannot tell: --reload
// asks the running gateway and waits for its answer.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <thread>

#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

class ReloadRequest : public Scenario {
 protected:
  Finished reload() const {
    return run_sallyport({"--reload", std::to_string(gateway->process().pid())});
  }
  Backend backend_{echo()};
};

TEST_F(ReloadRequest, SaysThatAllIsInForceChangedOrNot) {
  start_for(backend_);
  for (int i = 0; i < 2; ++i) {
    const double before = reloads("success", "discovery");
    const Finished asked = reload();
    EXPECT_EQ(asked.status, 0) << asked.err;
    EXPECT_EQ(asked.out, "credentials, policy and discovery are in force\n");
    EXPECT_EQ(asked.err, "");
    // It is so when the answer is there, not some time later.
    EXPECT_EQ(reloads("success", "discovery"), before + 1);
  }
  EXPECT_TRUE(served());
}

TEST_F(ReloadRequest, FailsWithEachReasonForAsLongAsThereIsOne) {
  start_for(backend_);
  std::ofstream(dir / "discovery.json") << "[{\"targets\": 1}]";
  const std::string key = dir / "gateway.key";
  const std::string good = [&] {
    std::ifstream file(key);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }();
  ASSERT_NE(good, "");
  std::ofstream(key) << "no key";
  // The second one changes nothing, and is no success for that.
  for (int i = 0; i < 2; ++i) {
    const Finished refused = reload();
    EXPECT_EQ(refused.status, 2);
    EXPECT_EQ(refused.out, "");
    EXPECT_NE(refused.err.find("refused, last good state stays: credentials: "), std::string::npos)
        << refused.err;
    EXPECT_NE(refused.err.find("refused, last good state stays: discovery: "), std::string::npos)
        << refused.err;
    EXPECT_NE(refused.err.find("discovery.json"), std::string::npos) << refused.err;
    EXPECT_EQ(refused.err.find("policy"), std::string::npos) << refused.err;
    EXPECT_TRUE(served());
  }
  std::ofstream(key) << good;
  const Finished still = reload();
  EXPECT_EQ(still.status, 2);
  EXPECT_EQ(still.err.find("credentials"), std::string::npos) << still.err;
  discover({backend_.address()});
  const Finished mended = reload();
  EXPECT_EQ(mended.status, 0) << mended.err;
}

TEST_F(ReloadRequest, FailsForARouteOfTheDiscoveryFile) {
  start_for(backend_);
  discover({{{"127.0.0.1:nine"}, {{"route", "orders"}}}});
  const Finished refused = reload();
  EXPECT_EQ(refused.status, 2);
  EXPECT_NE(refused.err.find("discovery: route orders: "), std::string::npos) << refused.err;
}

// Each has an answer of its own, however long the one before takes.
TEST_F(ReloadRequest, AnswersEachOfManyAtOnce) {
  start_for(backend_);
  const double before = reloads("success", "policy");
  gateway->signal(SIGSTOP);  // a reload that takes its time
  std::vector<std::thread> asking;
  std::vector<Finished> answers(5);
  for (Finished& each : answers) asking.emplace_back([&] { each = reload(); });
  gateway->signal(SIGCONT);
  for (std::thread& each : asking) each.join();
  for (const Finished& each : answers) EXPECT_EQ(each.status, 0) << each.err;
  EXPECT_EQ(reloads("success", "policy"), before + 5);
}

TEST_F(ReloadRequest, FailsWhereNoGatewayIsOrSomebodyElseHasTheName) {
  start_for(backend_);
  const Finished nobody = run_sallyport({"--reload", "2147483647"});
  EXPECT_EQ(nobody.status, 1);
  EXPECT_NE(nobody.err.find("no gateway of this number"), std::string::npos) << nobody.err;

  const Fd impostor(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  const std::string name = "sallyport/reload/2147483646";
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  ASSERT_EQ(::bind(impostor.get(), reinterpret_cast<const sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(impostor.get(), 1), 0);
  const Finished deceived = run_sallyport({"--reload", "2147483646"});
  EXPECT_EQ(deceived.status, 1);
  EXPECT_NE(deceived.err.find("another process has its name"), std::string::npos) << deceived.err;
}

// Whoever may connect is told by the kernel; nobody else has files read for him.
TEST_F(ReloadRequest, IsForRootAndTheGatewaysUser) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to be another user";
  start_for(backend_);
  const double before = reloads("success", "policy");
  const Finished other =
      run({"setpriv", "--reuid", "65534", "--clear-groups", "--", sallyport_program(), "--reload",
           std::to_string(gateway->process().pid())});
  EXPECT_EQ(other.status, 1);
  EXPECT_NE(other.err.find("only root and the gateway's user"), std::string::npos) << other.err;
  EXPECT_EQ(reloads("success", "policy"), before);
}

TEST_F(ReloadRequest, IsNotAnsweredByAGatewayThatEnds) {
  start_for(backend_);
  gateway->signal(SIGSTOP);
  Finished asked;
  std::thread asking([&] { asked = reload(); });
  wait_until("it has connected", [&] {
    std::ifstream sockets("/proc/net/unix");
    const std::string text(std::istreambuf_iterator<char>(sockets), {});
    const std::string name = "@sallyport/reload/" + std::to_string(gateway->process().pid());
    const std::size_t first = text.find(name + '\n');
    return first != std::string::npos && text.find(name + '\n', first + 1) != std::string::npos;
  });
  gateway->signal(SIGKILL);
  asking.join();
  EXPECT_EQ(asked.status, 1);
  EXPECT_NE(asked.err.find("ended before it answered"), std::string::npos) << asked.err;
  gateway->process().wait();
  gateway.reset();
}

}  // namespace
}  // namespace sallyport::test
