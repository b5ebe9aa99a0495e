// What a connection costs before its first byte is relayed: the route by SNI and ALPN, the rule
// that admits the peer, the endpoint.

#include <benchmark/benchmark.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/backends/balance.h"
#include "gateway/backends/discovery.h"
#include "gateway/backends/endpoints.h"
#include "gateway/backends/gone_endpoints.h"
#include "gateway/backends/rendezvous.h"
#include "gateway/policy/authorize.h"
#include "gateway/policy/policy.h"
#include "gateway/policy/route.h"
#include "ktls/trust/identity.h"

namespace {

using namespace sallyport::gateway;

template <class T, class E>
T value_of(std::expected<T, E> result) {
  if (result) return std::move(*result);
  std::fputs("the benchmark's own input was refused\n", stderr);
  std::exit(1);
}

// Half of the routes by exact name with ALPN, half by wildcard.
Policy::Pointer policy_of(std::int64_t routes) {
  std::vector<Route> made;
  for (std::int64_t i = 0; i < routes; ++i) {
    Route& route = made.emplace_back();
    route.name = "route-" + std::to_string(i);
    const std::string name = "service-" + std::to_string(i) + ".shop.example.org";
    route.sni = {i % 2 == 0 ? name : "*." + name};
    if (i % 2 == 0) route.alpn = {"h2", "http/1.1"};
    route.allow_any_verified = true;
  }
  return value_of(Policy::build(std::move(made)));
}

void choose_route(benchmark::State& state, std::string_view sni) {
  const Policy::Pointer policy = policy_of(state.range(0));
  constexpr std::array<std::string_view, 2> kOffers = {"h2", "http/1.1"};
  for (auto _ : state) benchmark::DoNotOptimize(choose(*policy, sni, kOffers));
}
void exact_name(benchmark::State& state) {
  choose_route(state, "Service-4.shop.example.org");
}
void wildcard(benchmark::State& state) {
  choose_route(state, "a.service-5.shop.example.org");
}
void unknown_name(benchmark::State& state) {
  choose_route(state, "a.b.shop.example.org");
}
BENCHMARK(exact_name)->Arg(10)->Arg(10'000);
BENCHMARK(wildcard)->Arg(10)->Arg(10'000);
BENCHMARK(unknown_name)->Arg(10)->Arg(10'000);

// The last of so many patterns matches.
void authorize_peer(benchmark::State& state) {
  Route route;
  for (std::int64_t i = 0; i < state.range(0); ++i) {
    route.allow.push_back(value_of(
        IdentityPattern::parse("spiffe://example.org/ns/shop-" + std::to_string(i) + "/sa/*")));
  }
  const sallyport::ktls::PeerIdentity peer{
      .spiffe = "spiffe://example.org/ns/shop-" + std::to_string(state.range(0) - 1) + "/sa/orders",
      .dns = {}};
  for (auto _ : state) benchmark::DoNotOptimize(authorize(route, peer));
}
BENCHMARK(authorize_peer)->Arg(1)->Arg(10)->Arg(1'000);

std::string discovery_text(std::int64_t endpoints) {
  std::string text = "[";
  for (std::int64_t i = 0; i < endpoints; ++i) {
    text += i > 0 ? ",\n" : "";
    text += "{\"targets\": [\"10." + std::to_string(i >> 16) + "." + std::to_string(i >> 8 & 255) +
            "." + std::to_string(i & 255) + ":80\"], \"labels\": {\"route\": \"r\"}}";
  }
  return text + "]";
}

void pick_endpoint(benchmark::State& state, PickRules rules) {
  const Discovery discovery = value_of(parse_discovery(discovery_text(state.range(0)), "bench"));
  Balancer balancer(1);
  balancer.update(EndpointSet::build(discovery, {}, nullptr));
  for (auto _ : state) {
    benchmark::DoNotOptimize(balancer.pick("r", rules));
    if (rules.identity) *rules.identity += 1;  // another client
  }
}
void round_robin(benchmark::State& state) {
  pick_endpoint(state, Balance::kRoundRobin);
}
void least_connections(benchmark::State& state) {
  pick_endpoint(state, Balance::kLeastConnections);
}
void power_of_two(benchmark::State& state) {
  pick_endpoint(state, Balance::kPowerOfTwo);
}
void hash_identity(benchmark::State& state) {
  PickRules rules(Balance::kHashIdentity);
  rules.identity = rendezvous_hash("spiffe://example.org/ns/shop/sa/web");
  pick_endpoint(state, rules);
}
void hash_an_identity(benchmark::State& state) {
  const std::string identity = "spiffe://example.org/ns/shop/sa/web";
  for (auto _ : state) benchmark::DoNotOptimize(rendezvous_hash(identity));
}
BENCHMARK(hash_identity)->Arg(10)->Arg(1'000)->Arg(100'000);
BENCHMARK(hash_an_identity);
BENCHMARK(round_robin)->Arg(10)->Arg(100'000);
BENCHMARK(least_connections)->Arg(10)->Arg(100'000);
BENCHMARK(power_of_two)->Arg(10)->Arg(100'000);

void read_discovery(benchmark::State& state) {
  const std::string text = discovery_text(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(parse_discovery(text, "bench"));
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(read_discovery)->Arg(100'000)->Unit(benchmark::kMillisecond);

// One of 200 endpoints is replaced by a new one, after so many others were.
void replace_endpoint(benchmark::State& state) {
  Discovery discovery = value_of(parse_discovery(discovery_text(200), "bench"));
  auto set = EndpointSet::build(discovery, {}, nullptr);
  GoneEndpoints gone;
  std::size_t replaced = 0;
  const auto replace = [&] {
    std::vector<DiscoveredTarget>& targets = discovery.routes.front().targets;
    DiscoveredTarget& target = targets[replaced++ % targets.size()];
    target.text = "11." + std::to_string(replaced >> 16) + "." +
                  std::to_string(replaced >> 8 & 255) + "." + std::to_string(replaced & 255) +
                  ":80";
    target.target = value_of(Target::parse(target.text));
    const auto now = std::chrono::steady_clock::now();
    auto next = EndpointSet::build(discovery, {}, set.get(), now);
    next->mark_leaving(now);
    benchmark::DoNotOptimize(gone.take_over(set.get(), *next, now));
    set = std::move(next);
  };
  for (std::int64_t i = 0; i < state.range(0); ++i) replace();
  for (auto _ : state) replace();
  state.counters["remembered"] = static_cast<double>(gone.list().size());
}
BENCHMARK(replace_endpoint)
    ->Arg(0)
    ->Arg(3'000)
    ->Arg(30'000)
    ->Iterations(500)  // each leaves one more
    ->Unit(benchmark::kMicrosecond);

}  // namespace

BENCHMARK_MAIN();
