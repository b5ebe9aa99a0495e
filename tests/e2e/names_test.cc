// Backends by name: the gateway follows what a name server says of them, for as long as it says.
#include <sched.h>
#include <sys/mount.h>

#include <cerrno>
#include <cstring>

#include "tests/e2e/scenario.h"
#include "tests/support/name_server.h"
#include "tests/support/network_namespace.h"

namespace sallyport::test {
namespace {

constexpr const char* kResolvConf = "/etc/resolv.conf";

// A resolv.conf of the test's own, seen by what its thread starts.
class OwnResolvConf {
 public:
  explicit OwnResolvConf(const std::string& file)
      : missing_(mount(file) ? ""
                             : std::string("a resolv.conf of its own: ") + std::strerror(errno)) {}
  ~OwnResolvConf() {
    if (missing_.empty()) ::umount2(kResolvConf, MNT_DETACH);
  }
  OwnResolvConf(const OwnResolvConf&) = delete;
  OwnResolvConf& operator=(const OwnResolvConf&) = delete;

  const std::string& missing() const { return missing_; }

 private:
  static bool mount(const std::string& file) {
    return ::unshare(CLONE_NEWNS) == 0 &&
           ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
           ::mount(file.c_str(), kResolvConf, nullptr, MS_BIND, nullptr) == 0;
  }

  std::string missing_;
};

class Names : public Scenario {
 protected:
  void SetUp() override {
    if (!net_.missing().empty()) GTEST_SKIP() << net_.missing();
    if (!resolv_conf_.missing().empty()) GTEST_SKIP() << resolv_conf_.missing();
    server_ = std::make_unique<NameServer>("127.0.0.1:53");
  }
  bool reaches(const std::string& address) const {
    return eventually([&] {
      return gateway->get("/routes").body.find(address) != std::string::npos && served();
    });
  }

  const NetworkNamespace net_;
  const OwnResolvConf resolv_conf_{
      dir.write("resolv.conf", "nameserver 127.0.0.1\nsearch mesh.test\n")};
  std::unique_ptr<NameServer> server_;
};

TEST_F(Names, AreFollowedWhenTheirTtlEnds) {
  Backend before(echo(), "127.0.0.2:0");
  server_->set("orders.mesh.test", {"127.0.0.2"}, 1);
  discover({"orders:" + before.port()});
  start();
  EXPECT_TRUE(served());
  Backend after(echo(), "127.0.0.3:" + before.port());
  server_->set("orders.mesh.test", {"127.0.0.3"}, 1);
  EXPECT_TRUE(reaches("127.0.0.3:" + before.port()));
  EXPECT_GE(after.accepted(), 1);
  EXPECT_EQ(gateway->get("/routes").body.find("127.0.0.2:"), std::string::npos);
}

TEST_F(Names, KeepTheirAddressesWhileTheServerFails) {
  Backend backend(echo(), "127.0.0.2:0");
  server_->set("orders.mesh.test", {"127.0.0.2"}, 1);
  discover({"orders:" + backend.port()});
  start();
  EXPECT_TRUE(served());
  for (const int rcode : {NameServer::kServFail, NameServer::kNxDomain}) {
    const int asked = server_->asked("orders.mesh.test");
    server_->answer_by(
        [=](const NameServer::Query& query) { return std::vector{query.reply({}, rcode)}; });
    EXPECT_TRUE(eventually([&] { return server_->asked("orders.mesh.test") > asked + 1; }));
    EXPECT_TRUE(served());
  }
  EXPECT_EQ(gateway->process().err().find("does not resolve"), std::string::npos);
}

TEST_F(Names, ThatComeLaterAreTakenInThen) {
  Backend backend(echo(), "127.0.0.2:0");
  discover({"orders:" + backend.port()});
  gateway = std::make_unique<Gateway>(flags(), false);  // it has no usable endpoint yet
  gateway->wait_err({"\"warning\"", "does not resolve", "\"orders\""});
  server_->set("orders.mesh.test", {"127.0.0.2"}, 1);
  gateway->wait_err({"\"info\"", "name of an endpoint resolves", "\"orders\""});
  EXPECT_TRUE(reaches("127.0.0.2:" + backend.port()));
}

// Each endpoint used to find out by itself that there is no way to it.
TEST_F(Names, OfIpv6AreLeftAloneOnceOneFoundNoRoute) {
  Backend backend(echo(), "127.0.0.2:0");
  std::vector<std::string> addresses{"127.0.0.2"};
  for (int i = 1; i <= 20; ++i) addresses.push_back("2001:db8::" + std::to_string(i));
  server_->set("orders.mesh.test", addresses, 3600);
  discover({"orders:" + backend.port()});
  start({"--shards", "2"});
  for (int i = 0; i < 60; ++i) EXPECT_TRUE(served()) << i;
  EXPECT_EQ(gateway->metrics().sum("backend_connect_failures_total"), 1);
  gateway->wait_err({"connects to an endpoint fail", "2001:db8::", "ENETUNREACH"});
}

}  // namespace
}  // namespace sallyport::test
