#include "gateway/run/checker.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gateway/backends/discovery.h"
#include "gateway/backends/endpoints.h"
#include "gateway/policy/policy.h"
#include "tests/support/backend.h"
#include "tests/support/wait.h"

namespace sallyport::gateway {
namespace {

using test::Backend;
using test::Fd;

// Counts those that wait for the answer to their check, and gives none.
struct Waiting {
  void wait(Fd& socket) {
    raise_most(++now);
    std::array<std::byte, 256> request;
    while (::recv(socket.get(), request.data(), request.size(), 0) > 0) {
    }
    --now;
  }
  void raise_most(int count) {
    int before = most;
    while (before < count && !most.compare_exchange_weak(before, count)) {
    }
  }

  std::atomic<int> now = 0;
  std::atomic<int> most = 0;
};

// Targets that all are the same server, by names of the loopback's addresses.
std::string targets(const std::string& port, int count) {
  std::string list;
  for (int i = 1; i <= count; ++i)
    list += (list.empty() ? "\"127.0.1." : ", \"127.0.1.") + std::to_string(i) + ":" + port + "\"";
  return list;
}

std::shared_ptr<const Snapshot> checked_by_http(const std::string& port, int endpoints) {
  Route route;
  route.name = "orders";
  route.endpoint_rules.health = HealthCheck{.type = HealthCheck::Type::kHttp,
                                            .interval = std::chrono::milliseconds(100),
                                            .timeout = std::chrono::milliseconds(50),
                                            .fall = 1};
  Snapshot snapshot;
  snapshot.policy = *Policy::build({route});
  const std::string groups =
      R"([{"targets": [)" + targets(port, endpoints) + R"(], "labels": {"route": "orders"}}])";
  snapshot.endpoints = EndpointSet::build(*parse_discovery(groups, "groups"), {}, nullptr);
  return std::make_shared<const Snapshot>(std::move(snapshot));
}

BackendContexts no_tls() {
  return std::make_shared<const std::vector<std::shared_ptr<ktls::ClientContext>>>(1);
}

TEST(Checker, HasNoMoreChecksUnderWayThanItMay) {
  Waiting waiting;
  Backend silent([&waiting](Fd& socket) { waiting.wait(socket); }, "0.0.0.0:0");
  const auto snapshot = checked_by_http(silent.port(), 30);
  {
    Checker checker(4, [] {});
    checker.serve(snapshot, no_tls());
    const auto& endpoints = snapshot->endpoints->find("orders")->endpoints;
    test::wait_until("all were checked", [&] {
      return std::ranges::all_of(endpoints, [](const auto& endpoint) {
        return endpoint->life->checked() == Checked::kDown;
      });
    });
  }
  EXPECT_GE(waiting.most, 2);
  // One that has ended for the checker may not have been seen to end by its server.
  EXPECT_LE(waiting.most, 8);
}

}  // namespace
}  // namespace sallyport::gateway
