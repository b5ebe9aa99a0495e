// Everything changes at once, trust, lists and rules, while clients come, resume, stay, leave and
// misbehave in every phase, and readers look on: what is counted adds up, nothing is touched that
// is gone, and the gateway still drains.
#include <atomic>
#include <chrono>
#include <csignal>
#include <functional>
#include <iterator>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/e2e/scenario.h"
#include "tests/support/storm_length.h"

namespace sallyport::test {
namespace {

using namespace std::chrono_literals;

const std::chrono::seconds kLengthOfStorm = storm_length(3s);

constexpr const char* kShop = R"("orders": {"sni": ["orders.example.org"], "allow": ["%"]})";
constexpr const char* kBank = R"("billing": {"sni": ["billing.example.org"], "allow": ["%"]})";
constexpr const char* kSilent = R"("silent": {"sni": ["silent.example.org"], "allow": ["%"]})";

std::string route(const char* form, const std::string& allow) {
  std::string text = form;
  return text.replace(text.find('%'), 1, allow);
}

class RecheckStorm : public Scenario {
 protected:
  using Random = std::mt19937_64;
  static std::size_t below(Random& random, std::size_t end) { return random() % end; }

  // ---- what the gateway reads

  void change_policy(Random& random) {
    std::vector<std::string> routes{route(kShop, "spiffe://example.org/ns/shop/**")};
    if (below(random, 8) > 0) {
      routes.push_back(route(kBank, below(random, 6) > 0
                                        ? "spiffe://example.org/ns/bank/**"
                                        : "spiffe://example.org/ns/bank/sa/other"));
    }
    if (below(random, 8) > 0) routes.push_back(route(kSilent, "spiffe://example.org/ns/**"));
    std::string text = R"({"routes": {)";
    for (const std::string& each : routes) text += (&each == routes.data() ? "" : ", ") + each;
    dir.replace("policy.json", text + "}}");
  }
  void change_trust(Random& random) {
    dir.replace("both.pem", root.cert_pem() + (below(random, 6) > 0 ? bank_root.cert_pem() : ""));
  }
  void change_lists(Random& random) {
    std::vector<std::uint64_t> revoked;
    for (const TestCertificate& each : bank)
      if (below(random, 8) == 0) revoked.push_back(each.serial);
    const std::uint64_t number = ++lists + (below(random, 5) == 0 ? 0 : 10);
    std::string text = root.crl() + bank_root.crl(revoked, 24h, -48h, number);
    if (below(random, 6) > 0) text += issuing.crl(revoked);
    dir.replace("crl.pem", text);
  }
  void change_things(std::uint64_t seed) {
    Random random(seed);
    while (!over) {
      switch (below(random, 4)) {
        case 0:
          change_policy(random);
          break;
        case 1:
          change_trust(random);
          break;
        case 2:
          change_lists(random);
          break;
        default:
          gateway->signal(SIGHUP);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(below(random, 60)));
    }
  }

  // ---- clients

  ClientOptions any_client(Random& random) {
    const std::size_t which = below(random, std::size(bank) + 2);
    ClientOptions options = as(which < std::size(bank) ? bank[which] : client);
    if (which == std::size(bank) + 1) {  // which expires in the storm
      options.certificate =
          bank_root.issue({.spiffe = {"spiffe://example.org/ns/bank/sa/brief"},
                           .not_before = std::chrono::seconds(-1),
                           .not_after = std::chrono::seconds(1 + below(random, 3))});
    }
    constexpr const char* kNames[] = {"orders.example.org", "billing.example.org",
                                      "silent.example.org"};
    if (below(random, 6) == 0) {
      options.sni = kNames[below(random, 3)];
    } else {
      options.sni = kNames[which == std::size(bank) ? 0 : 1];
    }
    options.trust_pem.reset();
    return options;
  }

  // One thing that clients do; true: it is still connected.
  static bool act(TlsClient& tls, Random& random) {
    switch (below(random, 12)) {
      case 0:
        tls.reset();
        return false;
      case 1:
        tls.close_notify();
        tls.receive_all();
        return false;
      case 2:
        tls.abrupt_close();
        return false;
      case 3:
        tls.close_notify();
        return true;
      case 4:
        ::send(tls.socket().get(), "garbage garbage", 15, MSG_NOSIGNAL | MSG_DONTWAIT);
        return true;
      case 5:
        tls.hold(std::string(400'000, 'y'));  // its echo is not read
        tls.flush_some();
        return true;
      case 6:
        tls.shutdown_write();
        return true;
      default:
        return tls.send("ping") && !tls.receive(1).empty();
    }
  }

  // What one thread's clients have.
  struct Crowd {
    std::vector<TlsClient> connected;
    std::shared_ptr<SSL_SESSION> session;
    ClientOptions of_session;
  };

  void connect_one(Crowd& crowd, Random& random) {
    ClientOptions options = any_client(random);
    if (crowd.session && below(random, 3) == 0) {
      options = crowd.of_session;
      options.session = crowd.session;
    }
    const bool slow = below(random, 4) == 0;
    options.handshake_flights = slow ? 1 : 0;
    const ClientOptions same = options;
    TlsClient tls(gateway->address(), std::move(options));
    if (slow) {
      std::this_thread::sleep_for(std::chrono::milliseconds(below(random, 80)));
      if (below(random, 3) == 0) return;
      tls.finish_handshake();
    }
    if (!tls.connected()) return;
    if (!tls.resumed() && below(random, 4) == 0) {
      crowd.session = tls.session();
      crowd.of_session = same;
    }
    crowd.connected.push_back(std::move(tls));
  }

  void be_clients(std::uint64_t seed) {
    constexpr std::size_t kMost = 30;
    Random random(seed);
    Crowd crowd;
    while (!over) {
      std::vector<TlsClient>& all = crowd.connected;
      try {
        if (all.size() < kMost && below(random, 3) > 0) {
          connect_one(crowd, random);
          ++made;
        } else if (!all.empty()) {
          std::swap(all[below(random, all.size())], all.back());
          if (!act(all.back(), random)) all.pop_back();
        }
      } catch (const TestFailure&) {
        // The listener has gone, in the drain, which needs the CPU more than this loop.
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
    }
  }

  // ---- readers

  void look_on(std::uint64_t seed) {
    Random random(seed);
    while (!over) {
      try {
        look(random);
      } catch (const TestFailure& failure) {
        if (!over && !ending) ADD_FAILURE() << failure.what();
      }
    }
  }
  void look(Random& random) {
    (void)gateway->metrics();  // throws unless accepted = closed + open
    for (const char* path : {"/peers", "/refusals", "/connections?limit=10000&total=1",
                             "/credentials", "/routes", "/peers/trust"}) {
      const HttpResponse answer = gateway->get(path);
      if (ending) return;
      EXPECT_EQ(answer.status, 200) << path;
      EXPECT_TRUE(is_json(answer.body)) << path << "\n" << answer.body;
    }
    const int status = gateway->get("/peers/trust?after=" + std::to_string(random())).status;
    EXPECT_TRUE(status == 200 || status == 400) << status;
  }

  void start_storm(std::vector<std::string> given) {
    bank[1] = issuing.issue({.spiffe = {"spiffe://example.org/ns/bank/sa/issued"}});
    bank[2] = bank_root.issue({.spiffe = {"spiffe://example.org/ns/bank/sa/forever"},
                               .not_before = -std::chrono::years(70),
                               .not_after = std::chrono::years(7'000)});
    Random random(1);
    change_policy(random);
    change_trust(random);
    change_lists(random);
    discover({{{backend.address()}, {{"route", "orders"}}},
              {{backend.address()}, {{"route", "billing"}}},
              {{silent.address()}, {{"route", "silent"}}}});
    given.insert(given.end(), {"--policy", dir / "policy.json", "--ca", dir / "both.pem", "--crl",
                               dir / "crl.pem", "--shards", "2", "--expiry-spread", "1s",
                               "--connect-timeout", "300ms", "--half-close-timeout", "1s",
                               "--max-lifetime", "4s", "--drain-timeout", "1s"});
    start(given);
  }

  void rage(const std::function<void()>& meanwhile) {
    std::vector<std::thread> threads;
    threads.emplace_back([this] { change_things(2); });
    threads.emplace_back([this] { look_on(3); });
    for (std::uint64_t seed = 10; seed < 13; ++seed)
      threads.emplace_back([this, seed] { be_clients(seed); });
    meanwhile();
    over = true;
    for (std::thread& each : threads) each.join();
  }

  Backend backend{echo()};
  SilentAddress silent;
  TestAuthority bank_root{"Bank Root"};
  TestAuthority issuing = bank_root.intermediate("Issuing");
  TestCertificate bank[3] = {
      bank_root.issue({.spiffe = {"spiffe://example.org/ns/bank/sa/teller"}}), {}, {}};
  std::uint64_t lists = 0;
  std::atomic<bool> over = false;
  std::atomic<bool> ending = false;  // from here on nothing has to answer
  std::atomic<int> made = 0;
};

class EachStorm : public RecheckStorm,
                  public ::testing::WithParamInterface<std::vector<std::string>> {};

TEST_P(EachStorm, LeavesEverythingCounted) {
  start_storm(GetParam());
  rage([] { std::this_thread::sleep_for(kLengthOfStorm); });
  ASSERT_TRUE(gateway->process().running()) << gateway->process().err();
  EXPECT_GT(made, 0);
  wait_until("every connection has ended",
             [this] { return gateway->metrics().sum("connections") == 0; });
  EXPECT_EQ(gateway->metrics().sum("connections_kept"), 0);
  EXPECT_EQ(gateway->metrics().sum("connections_lingering"), 0);
  EXPECT_GT(gateway->metrics().sum("live_rechecks_total"), 0);
}

TEST_P(EachStorm, EndsWithTheGateway) {
  start_storm(GetParam());
  rage([this] {
    std::this_thread::sleep_for(kLengthOfStorm / 2);
    ending = true;
    gateway->signal(SIGTERM);
    EXPECT_TRUE(eventually([this] { return !gateway->process().running(); })) << "it drains";
  });
  EXPECT_EQ(gateway->ended(), "");
  gateway.reset();
}

INSTANTIATE_TEST_SUITE_P(
    Live, EachStorm,
    ::testing::Values(std::vector<std::string>{"--end-spread", "300ms"},
                      std::vector<std::string>{"--end-spread", "0", "--keep-live", "expired",
                                               "--keep-live", "route_gone"},
                      std::vector<std::string>{"--end-spread", "2s", "--keep-live", "revoked",
                                               "--keep-live", "untrusted", "--keep-live",
                                               "not_authorized"}),
    [](const auto& info) { return std::to_string(info.index); });

}  // namespace
}  // namespace sallyport::test
