// The gateway starts while the writer of the discovery file is down: after a reboot the file is on
// a volume that is not mounted yet, or its generator left half of it. Without --state-dir that ends
// the start; with it, what was in force last serves clients, and everybody who asks is told so.
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class DiscoveryState : public Scenario {
 protected:
  DiscoveryState() {
    fs::create_directory(state);
    fs::permissions(state, fs::perms::owner_all);
  }
  std::vector<std::string> stateful(std::vector<std::string> more = {}) {
    more.insert(more.end(), {"--state-dir", state});
    return more;
  }
  std::string reached() const {
    TlsClient tls = connect();
    const std::string name = tls.receive(6);
    tls.close_notify();
    return name + tls.receive_all();
  }
  // Runs until the state is kept, and ends.
  void keep_state_of(const Backend& backend) {
    start_for(backend, stateful());
    gateway->wait_metric("state_writes_total", {{"result", "success"}}, 1);
    EXPECT_EQ(gateway->stop(), "");
    ASSERT_TRUE(fs::exists(state_file));
  }
  nlohmann::json discovery_page() const {
    return nlohmann::json::parse(gateway->get("/discovery").body);
  }

  const std::string state = dir / "state";
  const std::string state_file = state + "/discovery.json";
  Backend first{named("first ")};
  Backend second{named("second ")};
};

TEST_F(DiscoveryState, ServesAStartWithoutTheFile) {
  keep_state_of(first);
  fs::remove(dir / "discovery.json");
  start(stateful());
  EXPECT_EQ(reached(), "first ");
  gateway->wait_err({"discovery refused, endpoints of --state-dir are used", "No such file"});
  EXPECT_THAT(gateway->get("/readyz").body, HasSubstr("endpoints of 1 route are of --state-dir"));
  EXPECT_EQ(gateway->metrics().sum("config_source_current", {{"source", "discovery"}}), 0);
  const nlohmann::json page = discovery_page();
  EXPECT_EQ(page["written"], nullptr);
  EXPECT_THAT(page["refused"].get<std::string>(), HasSubstr("No such file"));
  EXPECT_EQ(page["state"]["in_use"], true);
  EXPECT_EQ(page["routes"][0]["from_state"], true);

  discover({second.address()});
  wait_until("the file is followed", [&] { return reached() == "second "; });
  wait_until("nobody is told of state any more", [&] {
    return discovery_page()["state"]["in_use"] == false &&
           gateway->get("/readyz").body == "ready\n";
  });
  EXPECT_EQ(discovery_page()["written"]["uid"], ::geteuid());
}

TEST_F(DiscoveryState, ServesAStartWithAFileThatIsRefused) {
  keep_state_of(first);
  dir.replace("discovery.json", "[{\"targets\":\n [\"127.0.0.1:");
  start(stateful());
  EXPECT_EQ(reached(), "first ");
  gateway->wait_err({"endpoints of --state-dir are used", "discovery.json:2"});
}

TEST_F(DiscoveryState, IsNoneOfTheBusinessOfAStartWithAGoodFile) {
  keep_state_of(first);
  discover({second.address()});
  start(stateful());
  EXPECT_EQ(reached(), "second ");
  EXPECT_EQ(discovery_page()["state"]["in_use"], false);
}

TEST_F(DiscoveryState, IsThereAfterAnUpdateAndAKill) {
  start_for(first, stateful());
  gateway->wait_metric("state_writes_total", {{"result", "success"}}, 1);
  discover({second.address()});
  gateway->wait_metric("state_writes_total", {{"result", "success"}}, 2);
  gateway->signal(SIGKILL);
  gateway.reset();
  fs::remove(dir / "discovery.json");
  start(stateful());
  EXPECT_EQ(reached(), "second ");
}

TEST_F(DiscoveryState, OfAnotherVersionIsNamedAndNotUsed) {
  keep_state_of(first);
  dir.write("state/discovery.json", R"({"version": 99, "endpoints": []})", 0600);
  start(stateful());
  gateway->wait_err({"state not used", "state/discovery.json: version"});
  EXPECT_EQ(reached(), "first ");
  EXPECT_EQ(gateway->stop(), "");

  dir.write("state/discovery.json", R"({"version": 99, "endpoints": []})", 0600);
  fs::remove(dir / "discovery.json");
  const Finished finished = run_sallyport(flags(stateful()));
  EXPECT_EQ(finished.status, 2);
  EXPECT_THAT(finished.err, HasSubstr("state not used"));
  EXPECT_THAT(finished.err, HasSubstr("No such file"));
}

TEST_F(DiscoveryState, OfAnotherDiscoveryFileIsNotUsed) {
  keep_state_of(first);
  const Finished finished = run_sallyport(flags(stateful({"--discovery", dir / "elsewhere.json"})));
  EXPECT_EQ(finished.status, 2);
  EXPECT_THAT(finished.err, HasSubstr("elsewhere.json"));
  EXPECT_THAT(finished.err, HasSubstr("state not used"));
}

TEST_F(DiscoveryState, DirectoryOfOthersIsRefused) {
  discover({first.address()});
  fs::permissions(state, fs::perms(0755));
  for (const char* check : {"", "--check"}) {
    std::vector<std::string> all = stateful();
    if (*check != '\0') all.emplace_back(check);
    const Finished finished = run_sallyport(flags(all));
    EXPECT_EQ(finished.status, 2) << check;
    EXPECT_THAT(finished.err, HasSubstr("mode 0755 lets others than its owner use it")) << check;
  }
}

TEST_F(DiscoveryState, CheckJudgesTheFileAndNotTheState) {
  keep_state_of(first);
  EXPECT_EQ(run_sallyport(flags(stateful({"--check"}))).status, 0);
  fs::remove(dir / "discovery.json");
  EXPECT_EQ(run_sallyport(flags(stateful({"--check"}))).status, 2);
}

// Where root may mount, the directory is a file system of one page, which is full; else no file may
// grow. Neither is a fault of the gateway: it is said once, counted, and tried again until there is
// room.
TEST_F(DiscoveryState, OnAFullDiskIsNoFault) {
  const bool mounts = run({"unshare", "-m", "mount", "-t", "tmpfs", "none", state}).status == 0;
  const std::string fill =
      "mount -t tmpfs -o size=4k,mode=0700 none \"$0\" && "
      "head -c 4096 /dev/zero >\"$0/fill\" && exec \"$@\"";
  const std::vector<std::string> full =
      mounts ? std::vector<std::string>{"unshare", "-m", "sh", "-c", fill, state}
             : std::vector<std::string>{"sh", "-c", "ulimit -S -f 0 && exec \"$@\"", "sh"};
  discover({first.address()});
  std::vector<std::string> argv = full;
  argv.push_back(sallyport_program());
  for (std::string& flag : flags(stateful())) argv.push_back(std::move(flag));
  gateway = std::make_unique<Gateway>(Gateway::Command{argv});
  gateway->wait_metric("state_writes_total", {{"result", "failure"}}, 1);
  gateway->wait_err({"state not kept", mounts ? "No space left" : "File too large"});
  EXPECT_EQ(reached(), "first ");
  discover({second.address()});
  wait_until("updates are followed", [&] { return reached() == "second "; });
  EXPECT_EQ(gateway->metrics().sum("state_writes_total", {{"result", "success"}}), 0);
  EXPECT_TRUE(gateway->ready());

  const pid_t pid = gateway->process().pid();
  if (mounts) {
    ASSERT_TRUE(fs::remove("/proc/" + std::to_string(pid) + "/root" + state + "/fill"));
  } else {
    rlimit size{};
    ASSERT_EQ(::prlimit(pid, RLIMIT_FSIZE, nullptr, &size), 0);
    size.rlim_cur = size.rlim_max;
    ASSERT_EQ(::prlimit(pid, RLIMIT_FSIZE, &size, nullptr), 0);
  }
  gateway->wait_err({"state kept again"});
  EXPECT_EQ(reached(), "second ");
}

TEST_F(DiscoveryState, PageTellsWhatIsInForceOfEachRoute) {
  dir.write("policy.json", R"({"routes": {
      "orders": {"sni": ["orders.example.org"], "allow-any-verified": true},
      "billing": {"sni": ["billing.example.org"], "allow-any-verified": true}}})");
  const DiscoveryGroup orders{{first.address()}, {{"route", "orders"}}};
  const DiscoveryGroup billing{{second.address()}, {{"route", "billing"}}};
  discover({orders, billing});
  start({"--policy", dir / "policy.json"});
  nlohmann::json page = discovery_page();
  EXPECT_EQ(page["state"], nullptr);
  EXPECT_EQ(page["refused"], nullptr);
  EXPECT_EQ(page["routes"].size(), 2u);
  const std::string hash = page["written"]["sha256"];
  discover({orders, {{"no-port"}, {{"route", "billing"}}}});
  wait_until("one is refused", [&] { return discovery_page()["routes"][1]["refused"] != nullptr; });
  page = discovery_page();
  EXPECT_NE(page["written"]["sha256"], hash);
  EXPECT_EQ(page["routes"][0]["refused"], nullptr);
  EXPECT_EQ(page["routes"][1]["targets"], 1);
  EXPECT_THAT(page["routes"][1]["refused"].get<std::string>(), HasSubstr("the port is missing"));
  EXPECT_EQ(gateway->get("/discovery", "POST").status, 405);
}

}  // namespace
}  // namespace sallyport::test
