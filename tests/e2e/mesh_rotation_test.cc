// An application calls a service through two gateways, by connections that stay and by new ones,
// while each gateway gets another certificate every second, under an issuer of its own: no call
// fails, and not a byte is lost.
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <iostream>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/e2e/sidecar_scenario.h"
#include "tests/support/storm_length.h"

namespace sallyport::test {
namespace {

using namespace std::chrono_literals;

// However loaded the machine is.
constexpr std::chrono::minutes kLongPatience{5};
const std::vector<std::string> kPatient{"--connect-timeout", "5m", "--handshake-timeout", "5m"};

void wait_long(const std::string& what, const std::function<bool()>& condition) {
  if (!eventually(condition, kLongPatience)) throw TestFailure("never happened: " + what);
}

class MeshRotation : public SidecarScenario {
 protected:
  // ---- certificates

  // Behind it both gateways serve by the new ones.
  void rotate(int number) {
    const KeyType type = number % 2 == 0 ? KeyType::kEcdsaP256 : KeyType::kEcdsaP384;
    const TestAuthority issuing = root.intermediate("Issuing " + std::to_string(number));
    exchange(*gateway, "gateway", issuing.issue({.dns = {"orders.example.org"}, .key_type = type}));
    exchange(*sidecar, "web", issuing.issue({.spiffe = {kWeb}, .key_type = type}));
  }
  void exchange(const Gateway& of, const std::string& name, const TestCertificate& next) {
    const auto successes = [&of] {
      return of.metrics().sum("config_reloads_total", {{"result", "success"}});
    };
    const double before = successes();
    dir.replace(name + ".key", next.key_pem, 0600);
    dir.replace(name + ".pem", next.chain_pem);
    wait_long(name + " has its next certificate", [&] { return successes() > before; });
  }

  // ---- applications

  void call(const Fd& connection, std::size_t bytes, unsigned seed) {
    const std::string data = pseudo_random(bytes, seed);
    std::string answer;
    StreamEnd end = StreamEnd::kOpen;
    {
      const std::jthread sends([&] { send_all(connection, data); });
      end = receive(connection, answer, data.size());
    }
    if (answer != data) {
      throw TestFailure("a call of " + std::to_string(bytes) + " bytes got " +
                        std::to_string(answer.size()) + ", end " +
                        std::to_string(static_cast<int>(end)));
    }
    sent += data.size();
  }
  void end(const Fd& connection) {
    ::shutdown(connection.get(), SHUT_WR);
    std::string rest;
    if (receive_all(connection, rest) != StreamEnd::kFin || !rest.empty())
      throw TestFailure("a connection did not end in order");
    ++ended;
  }
  void stay(unsigned seed) {
    const Fd connection = connect_to(sidecar->address());
    for (unsigned round = 0; !over; ++round)
      call(connection, round % 20 == 0 ? 2'000'000 : 100 + 1000 * (round % 20), seed + round);
    end(connection);
  }
  void come_again_and_again(unsigned seed) {
    for (unsigned round = 0; !over; ++round) {
      const Fd connection = connect_to(sidecar->address());
      call(connection, 10'000, seed + round);
      end(connection);
    }
  }
  void begin(const std::function<void(unsigned seed)>& what) {
    const auto seed = static_cast<unsigned>(applications.size()) << 16;
    applications.emplace_back([this, what, seed] {
      try {
        what(seed);
      } catch (const std::exception& problem) {
        over = true;
        ADD_FAILURE() << problem.what();
      }
    });
  }

  // ---- how it went

  static void expect_nothing_but_success(const Gateway& of) {
    for (const char* name :
         {"backend_tls_handshakes_total", "tls_handshakes_total", "config_reloads_total"}) {
      const Metrics metrics = of.metrics();
      EXPECT_EQ(metrics.sum(name), metrics.sum(name, {{"result", "success"}})) << name;
    }
  }
  // That every connection has ended in order; the bytes that they have received.
  std::size_t expect_all_done(Gateway& of) const {
    std::size_t bytes = 0;
    for (const LogLine& line : of.wait_logs(ended)) {
      EXPECT_EQ(line.at("reason"), "done");
      EXPECT_EQ(line.at("received_bytes"), line.at("sent_bytes"));
      bytes += std::stoul(line.at("received_bytes"));
    }
    return bytes;
  }

  void stop() {
    over = true;
    for (std::thread& each : applications) each.join();
    applications.clear();
  }
  void TearDown() override {
    stop();
    if (HasFailure()) {
      tell_of("egress", *sidecar);
      tell_of("ingress", *gateway);
    }
    SidecarScenario::TearDown();
  }
  // What was no success.
  static void tell_of(const char* name, Gateway& which) {
    for (const LogLine& line : which.connection_log())
      if (line.at("reason") != "done") std::cout << name << ": " << ::testing::PrintToString(line);
    std::cout << name << ": " << which.process().err() << '\n';
  }

  std::vector<std::thread> applications;
  std::atomic<bool> over = false;
  std::atomic<std::size_t> sent = 0, ended = 0;
};

TEST_F(MeshRotation, EverySecondOnBothSidesLosesNothing) {
  const Backend backend(echo());
  start_for(backend, kPatient);
  start_sidecar("127.0.0.1:0", gateway->address(), kPatient);
  for (int i = 0; i < 4; ++i) begin([this](unsigned seed) { stay(seed); });
  for (int i = 0; i < 2; ++i) begin([this](unsigned seed) { come_again_and_again(seed); });

  const auto until = std::chrono::steady_clock::now() + storm_length(15s);
  int rotations = 0;
  while (!over && std::chrono::steady_clock::now() < until) {
    rotate(rotations++);
    const std::size_t before = ended;  // two at most have begun before
    wait_long("a connection of after that has ended", [&] { return over || ended > before + 2; });
    std::this_thread::sleep_for(1s);  // the pace of the storm
  }
  stop();

  EXPECT_EQ(expect_all_done(*sidecar), sent);
  EXPECT_EQ(expect_all_done(*gateway), sent);
  expect_nothing_but_success(*sidecar);
  expect_nothing_but_success(*gateway);
  std::set<std::string> serials;
  for (const LogLine& peer : parse_objects(gateway->get("/peers").body))
    serials.insert(peer.at("serial"));
  EXPECT_EQ(serials.size(), static_cast<std::size_t>(rotations) + 1)
      << "each certificate was presented";
}

}  // namespace
}  // namespace sallyport::test
