// A service calls another: the application speaks plaintext with the gateway beside it, which goes
// on by mutual TLS, in the service's name, to the gateway beside the other.
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "tests/e2e/sidecar_scenario.h"

namespace sallyport::test {
namespace {

class Egress : public SidecarScenario {
 protected:
  static std::string ourselves() {
    return std::to_string(::geteuid()) + "/" + std::to_string(::getpid());
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
  const Finished second =
      run_sallyport({"--egress", "unix:" + path + "=orders", "--admin", "127.0.0.1:0", "--cert",
                     dir / "web.pem", "--key", dir / "web.key", "--ca", dir / "roots.pem",
                     "--policy", dir / "policy.json", "--discovery", dir / "sidecar.json"});
  EXPECT_EQ(second.status, 1);
  EXPECT_NE(second.err.find("Address already in use"), std::string::npos) << second.err;
}

}  // namespace
}  // namespace sallyport::test
