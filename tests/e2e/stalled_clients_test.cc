// Thousands of clients that stall in some state of their handshake keep no other one waiting, and
// hold no more memory than they may.
#include <string>
#include <tuple>
#include <vector>

#include "iouring/sanitizers.h"
#include "tests/e2e/scenario.h"
#include "tests/support/client_hello.h"

namespace sallyport::test {
namespace {

constexpr int kStalled = iouring::kSanitized ? 500 : 5'000;
constexpr int kHealthy = 20;
constexpr double kMostMilliseconds = iouring::kSanitized ? 2'500 : 250;

enum class State { kSilent, kHalfRecord, kHalfHello, kAnswered, kCertificateWithheld };
enum class From { kOneAddress, kManyAddresses };

using Case = std::tuple<State, From>;

std::string name_of(const ::testing::TestParamInfo<Case>& info) {
  static const std::vector<std::string> kStates{"Silent", "HalfARecord", "HalfAClientHello",
                                                "Answered", "CertificateWithheld"};
  const auto [state, from] = info.param;
  return kStates[static_cast<std::size_t>(state)] +
         (from == From::kOneAddress ? "FromOneAddress" : "FromManyAddresses");
}

class StalledClients : public Scenario, public ::testing::WithParamInterface<Case> {
 protected:
  // The i-th one, as far as it goes. Each case has addresses of its own, whose ports are free.
  Fd stall(int i) const {
    const auto [state, from] = GetParam();
    const int host = from == From::kOneAddress ? 0 : i;
    const int net = 64 + 2 * static_cast<int>(state) + static_cast<int>(from);
    Fd socket = connect_to(gateway->address(), "127." + std::to_string(net) + "." +
                                                   std::to_string(host / 250) + "." +
                                                   std::to_string(1 + host % 250) + ":0");
    if (state == State::kHalfRecord) send_all(socket, hello_.substr(0, 4));
    if (state == State::kHalfHello) send_all(socket, hello_.substr(0, hello_.size() / 2));
    if (state == State::kAnswered || state == State::kCertificateWithheld) send_all(socket, hello_);
    // The compatibility ChangeCipherSpec, and the header of a record that never comes.
    if (state == State::kCertificateWithheld)
      send_all(socket, std::string("\x14\x03\x03\x00\x01\x01\x17\x03\x03\x08\x00", 11));
    return socket;
  }
  // So that they wait, and not the gateway's work for them.
  static void wait_answered(const std::vector<Fd>& stalled) {
    const State state = std::get<State>(GetParam());
    if (state != State::kAnswered && state != State::kCertificateWithheld) return;
    for (const Fd& each : stalled) {
      std::string answer;
      receive(each, answer, 1);
    }
  }
  double resident_mib() const {
    return gateway->metrics().sum("process_resident_memory_bytes") / (1 << 20);
  }

  std::string hello_ = client_hello();
};

TEST_P(StalledClients, KeepNoHealthyOneWaiting) {
  Backend backend(echo());
  start_for(backend, {"--shards", "1", "--handshake-timeout", "1h", "--handshake-memory", "32M"});
  const double fresh = resident_mib();
  std::vector<Fd> stalled;
  for (int i = 0; i < kStalled; ++i) stalled.push_back(stall(i));
  gateway->wait_metric("connections_accepted_total", {}, kStalled);
  wait_answered(stalled);

  for (int i = 0; i < kHealthy; ++i) {
    TlsClient tls = connect();
    ASSERT_TRUE(tls.echo("hello")) << "client " << i;
    tls.close_notify();
    tls.receive_all();
    const LogLine line = gateway->wait_log({{"client", tls.local_address()}});
    EXPECT_LE(std::stod(line.at("handshake_ms")), kMostMilliseconds) << "client " << i;
  }
  const double grown = resident_mib() - fresh;
  RecordProperty("resident_mib", std::to_string(grown));
  // 32 MiB of handshakes that wait, as much again for what the allocator keeps, sockets' objects.
  if (!iouring::kSanitized) EXPECT_LE(grown, 80);
  stalled.clear();
}

INSTANTIATE_TEST_SUITE_P(
    Of, StalledClients,
    ::testing::Combine(::testing::Values(State::kSilent, State::kHalfRecord, State::kHalfHello,
                                         State::kAnswered, State::kCertificateWithheld),
                       ::testing::Values(From::kOneAddress, From::kManyAddresses)),
    name_of);

}  // namespace
}  // namespace sallyport::test
