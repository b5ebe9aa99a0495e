// An endpoint that goes down and up twice a second beside two good ones: nobody notices.
#include <chrono>
#include <ostream>
#include <string>
#include <thread>

#include "tests/e2e/fault_scenario.h"
#include "tests/support/fallible_endpoint.h"
#include "tests/support/storm_length.h"

namespace sallyport::test {
namespace {

using namespace std::chrono_literals;

struct Flap {
  const char* name;
  Fault fault;
  const char* keys;
};

void PrintTo(const Flap& flap, std::ostream* out) {
  *out << flap.name;
}

constexpr const char* kChecked =
    R"("health": {"type": "tcp", "interval": "100ms", "timeout": "1s", "rise": 1, "fall": 1})";

class FlappingEndpoint : public FaultScenario, public ::testing::WithParamInterface<Flap> {};

TEST_P(FlappingEndpoint, IsFeltByNobody) {
  FallibleEndpoint flapping(
      {.fault = GetParam().fault, .name = 'f', .unix_socket = dir / "flapping.sock"});
  Backend one(named_echo('1'));
  Backend other(named_echo('2'));
  discover({flapping.address(), one.address(), other.address()});
  start_routes({{"orders", GetParam().keys}}, {"--connect-timeout", "60s"});
  Canary canary(gateway->address(), to("orders"));
  Canary second(gateway->address(), to("orders"));
  wait_until("it is used", [&] { return canary.visits() + second.visits() >= 10; });

  const auto over = std::chrono::steady_clock::now() + storm_length(5s);
  while (std::chrono::steady_clock::now() < over) {
    flapping.broken() ? flapping.mend() : flapping.break_down();
    std::this_thread::sleep_for(250ms);
  }
  canary.end();
  second.end();
  EXPECT_EQ(canary.first_harm(), "");
  EXPECT_EQ(second.first_harm(), "");
  EXPECT_TRUE(canary.by_backend().contains('f') || second.by_backend().contains('f'));
  EXPECT_GE(of("backend_connect_failures_total", "orders", flapping.address()) +
                gateway->metrics().sum("backend_checks_total", {{"result", "failure"}}),
            1);
}

INSTANTIATE_TEST_SUITE_P(Each, FlappingEndpoint,
                         ::testing::Values(Flap{"Refusing", Fault::kRefuses, ""},
                                           Flap{"RefusingAndChecked", Fault::kRefuses, kChecked},
                                           Flap{"Swallowing", Fault::kSwallows, ""},
                                           Flap{"WithoutItsSocket", Fault::kSocketMissing,
                                                kChecked}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace sallyport::test
