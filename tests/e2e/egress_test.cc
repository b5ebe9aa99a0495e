// A service calls another: the application speaks plaintext with the gateway beside it, which goes
// on by mutual TLS, in the service's name, to the gateway beside the other.
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "tests/e2e/sidecar_scenario.h"

namespace sallyport::test {
namespace {

class Egress : public SidecarScenario {
 protected:
  static std::string ourselves() {
    return std::to_string(::geteuid()) + "/" + std::to_string(::getpid());
  }
  // With the files of `sidecar`.
  Finished run_another(const std::string& path, const std::string& admin,
                       const std::vector<std::string>& more = {}) const {
    std::vector<std::string> all{"--egress",    "unix:" + path + "=orders",
                                 "--admin",     admin,
                                 "--cert",      dir / "web.pem",
                                 "--key",       dir / "web.key",
                                 "--ca",        dir / "roots.pem",
                                 "--policy",    dir / "policy.json",
                                 "--discovery", dir / "sidecar.json"};
    all.insert(all.end(), more.begin(), more.end());
    return run_sallyport(all);
  }
};

TEST_F(Egress, CallsAServiceInTheNameOfItsOwn) {
  const Backend backend(echo());
  start_both(backend);

  const Fd application = connect_to(sidecar->address());
  const std::string data = pseudo_random(1 << 20, 1);
  std::string answer;
  std::thread sends([&] { send_all(application, data); });
  EXPECT_EQ(receive(application, answer, data.size()), StreamEnd::kOpen);
  sends.join();
  EXPECT_EQ(answer, data);
  ::shutdown(application.get(), SHUT_WR);
  EXPECT_EQ(receive_all(application, answer), StreamEnd::kFin);

  const LogLine out = sidecar->wait_log({{"reason", "done"}});
  EXPECT_EQ(out.at("direction"), "egress");
  EXPECT_EQ(out.at("identity"), "-");
  EXPECT_EQ(out.at("backend_identity"), "dns:orders.example.org");
  EXPECT_EQ(out.at("route"), "orders");
  EXPECT_EQ(out.at("tls"), "");
  EXPECT_FALSE(out.contains("local_user")) << "the kernel does not say it of TCP";
  const LogLine in = gateway->wait_log({{"reason", "done"}});
  EXPECT_EQ(in.at("direction"), "ingress");
  EXPECT_EQ(in.at("identity"), kWeb);
  EXPECT_EQ(in.at("received_bytes"), out.at("received_bytes"));
}

TEST_F(Egress, ServesAUnixSocketAndSaysWhoCalled) {
  const Backend backend(echo());
  const std::string path = dir / "orders.sock";
  start_both(backend, "unix:" + path);
  struct stat file{};
  ASSERT_EQ(::stat(path.c_str(), &file), 0);
  EXPECT_EQ(file.st_mode & 07777U, 0640U);

  for (int i = 0; i < 4; ++i) {  // more than one shard
    const Fd application = connect_to("unix:" + path);
    send_all(application, "ping");
    std::string answer;
    EXPECT_EQ(receive(application, answer, 4), StreamEnd::kOpen);
    EXPECT_EQ(answer, "ping");
    const auto live = parse_objects(sidecar->get("/connections").body);
    ASSERT_EQ(live.size(), 1U);
    EXPECT_EQ(live[0].at("local_user"), ourselves());
    ::shutdown(application.get(), SHUT_WR);
    EXPECT_EQ(receive_all(application, answer), StreamEnd::kFin);
    sidecar->wait_logs(static_cast<std::size_t>(i) + 1);
  }
  for (const LogLine& line : sidecar->connection_log()) {
    EXPECT_EQ(line.at("local_user"), ourselves());
  }
  EXPECT_EQ(sidecar->stop(), "");
  EXPECT_NE(::stat(path.c_str(), &file), 0) << "its file goes with it";
  sidecar.reset();
}

TEST_F(Egress, CountsTheRecordsOfItsOneTlsLeg) {
  const Backend backend(echo());
  start_both(backend);
  {
    const Fd application = connect_to(sidecar->address());
    send_all(application, "ping");
    std::string answer;
    EXPECT_EQ(receive(application, answer, 4), StreamEnd::kOpen);
    const Metrics metrics = sidecar->metrics();
    for (const char* direction : {"receive", "send"})
      EXPECT_EQ(metrics.sum("records_connections", {{"direction", direction}}), 1) << direction;
  }
  wait_until("it is counted no more",
             [&] { return sidecar->metrics().sum("records_connections") == 0; });
}

TEST_F(Egress, TellsAnApplicationThatItsBackendWasCutOff) {
  const Backend backend(reset_after(4));
  start_both(backend);

  const Fd application = connect_to(sidecar->address());
  send_all(application, "ping");
  std::string answer;
  EXPECT_EQ(receive_all(application, answer), StreamEnd::kReset);
}

TEST_F(Egress, ResetsAnApplicationWhoseBackendIsAnother) {
  const Backend backend(echo());
  start_both(backend);
  const std::size_t before = sidecar->err_size();
  dir.replace("policy.json", policy_of_sidecar(R"("spiffe://example.org/other")"));
  sidecar->wait_err({"reloaded", "policy"}, before);
  sidecar->get("/connections?limit=1");  // each shard answers behind what it was told before

  const Fd application = connect_to(sidecar->address());
  std::string answer;
  EXPECT_EQ(receive_all(application, answer), StreamEnd::kReset);
  EXPECT_EQ(sidecar->wait_log({{"reason", "backend_not_verified"}}).at("direction"), "egress");
  EXPECT_EQ(backend.accepted(), 0);
}

TEST_F(Egress, ResetsTheServiceWhereTheApplicationResets) {
  const Backend backend(echo());
  start_both(backend);

  Fd application = connect_to(sidecar->address());
  send_all(application, "ping");
  std::string answer;
  EXPECT_EQ(receive(application, answer, 4), StreamEnd::kOpen);
  application.reset();
  sidecar->wait_log({{"reason", "client_reset"}});
  gateway->wait_log({{"identity", kWeb}, {"reason", "client_reset"}});
}

TEST_F(Egress, KeepsItsRouteWhenAPolicyTakesItsTlsAway) {
  const Backend backend(echo());
  start_both(backend);
  const std::size_t before = sidecar->err_size();
  dir.replace("policy.json", R"({"routes": {"orders": {"allow-any-verified": true}}})");
  sidecar->wait_err({"reload refused", "backend-tls"}, before);

  const Fd application = connect_to(sidecar->address());
  send_all(application, "ping");
  std::string answer;
  EXPECT_EQ(receive(application, answer, 4), StreamEnd::kOpen);
  EXPECT_EQ(gateway->get("/connections").status, 200);
}

TEST_F(Egress, DoesNotReplaceASocketThatIsInUse) {
  const Backend backend(echo());
  const std::string path = dir / "orders.sock";
  start_both(backend, "unix:" + path);
  const Finished second = run_another(path, "127.0.0.1:0");
  EXPECT_EQ(second.status, 1);
  EXPECT_NE(second.err.find("Address already in use"), std::string::npos) << second.err;
}

// The path leads to the old one until it leads to the new one.
TEST_F(Egress, IsExchangedWhileApplicationsCall) {
  const Backend backend(echo());
  const std::string path = dir / "orders.sock";
  start_both(backend, "unix:" + path, {"--share-port"});
  std::atomic<bool> over = false;
  std::atomic<int> calls = 0;
  std::string wrong;
  std::thread calling([&] {
    for (; !over && wrong.empty(); ++calls) {
      try {
        const Fd application = connect_to("unix:" + path);
        send_all(application, "ping");
        std::string answer;
        if (receive(application, answer, 4) != StreamEnd::kOpen) wrong = "no answer";
        ::shutdown(application.get(), SHUT_WR);
        if (receive_all(application, answer) != StreamEnd::kFin) wrong = "no end in order";
      } catch (const TestFailure& failure) {
        wrong = failure.what();
      }
    }
  });
  for (int exchange = 0; exchange < 5; ++exchange) {
    const std::unique_ptr<Gateway> first = std::move(sidecar);
    start_sidecar("unix:" + path, gateway->address(), {"--share-port"});
    EXPECT_EQ(first->stop(), "");
    const int so_far = calls;
    EXPECT_TRUE(eventually([&] { return calls > so_far || !wrong.empty(); }));
  }
  over = true;
  calling.join();
  EXPECT_EQ(wrong, "") << "after " << calls << " calls";
}

// Told apart by their spelling, the one would replace the other.
TEST_F(Egress, HasNoPathThatLeadsToTheAdminSocket) {
  const Backend backend(echo());
  start_both(backend);
  std::filesystem::create_directory(dir / "run");
  std::filesystem::create_directory_symlink(dir / "run", dir / "link");
  for (const char* const mode : {"--check", "--log-format=json"}) {
    const Finished both =
        run_another(dir / "run/both.sock", "unix:" + (dir / "link/both.sock").string(), {mode});
    EXPECT_EQ(both.status, 2) << mode;
    EXPECT_NE(both.err.find("leads to the same socket as --egress"), std::string::npos) << both.err;
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir / "run"));
}

}  // namespace
}  // namespace sallyport::test
