#include "metrics/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "metrics/table.h"

namespace sallyport::metrics {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

enum class Closed { kDone, kReset };
constexpr std::array<std::string_view, 2> kClosed{"done", "reset"};
constexpr std::array<std::string_view, 2> kHandshakes{"success", "no_route"};
constexpr std::array<std::string_view, 1> kNotBuilt{"not_built"};
constexpr std::array<std::string_view, 2> kRecheckCauses{"revoked", "expired"};
constexpr Vocabulary kWordsOfRegistry{kClosed, kHandshakes, kNotBuilt, kRecheckCauses};

BuildInfo build() {
  return {"0.1.0", "3.0.22", "6.18.0", "2.3"};
}

// The text format as its readers understand it: "name{labels}" to value; fails on a stray line.
struct Scrape {
  std::map<std::string, double> series;
  std::map<std::string, std::string> types;
  std::set<std::string> helps;
};

Scrape parse(const std::string& text) {
  Scrape result;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string hash, kind, name, rest;
    if (line.starts_with("#")) {
      words >> hash >> kind >> name >> rest;
      if (kind == "HELP") {
        EXPECT_TRUE(result.helps.insert(name).second) << line;
      } else if (kind == "TYPE") {
        EXPECT_TRUE(result.types.emplace(name, rest).second) << line;
      } else {
        ADD_FAILURE() << line;
      }
      continue;
    }
    const std::size_t space = line.rfind(' ');
    if (space == std::string::npos) {
      ADD_FAILURE() << line;
      continue;
    }
    double value = 0;
    const auto [end, error] =
        std::from_chars(line.data() + space + 1, line.data() + line.size(), value);
    EXPECT_TRUE(error == std::errc() && end == line.data() + line.size()) << line;
    EXPECT_TRUE(result.series.emplace(line.substr(0, space), value).second) << line;
  }
  return result;
}

TEST(Registry, ShowsEveryMetricOfTheTableFromTheStart) {
  Registry registry(kWordsOfRegistry, build());
  const Scrape scrape = parse(registry.scrape());
  for (const Metric& each : kTable) {
    const std::string name(each.name);
    EXPECT_TRUE(scrape.helps.contains(name)) << name;
    ASSERT_TRUE(scrape.types.contains(name)) << name;
    const char* type = each.type == MetricType::kCounter ? "counter"
                       : each.type == MetricType::kGauge ? "gauge"
                                                         : "histogram";
    EXPECT_EQ(scrape.types.at(name), type) << name;
  }
  EXPECT_EQ(scrape.types.size(), kTable.size());
}

TEST(Registry, AddsUpTheShards) {
  Registry registry(kWordsOfRegistry, build());
  std::vector<std::unique_ptr<OpenConnection>> connections;
  for (const unsigned index : {0U, 1U}) {
    ShardMetrics& shard = registry.add_shard(index);
    ListenerCells& listener = shard.listener("127.0.0.1:8443");
    auto& connection =
        connections.emplace_back(std::make_unique<OpenConnection>(listener, Closed::kReset));
    connection->routed("orders").received(Leg::kClient, 100);
    connection->route().sent(Leg::kBackend, 90);
    connection->route().backend_connected(3ms);
    {
      OpenConnection closed(listener, Closed::kDone);
    }
    StartedHandshake handshake(listener, 1U);
    handshake.ends_with(0U, false, 2ms);
    shard.negotiated("TLSv1.3", "X25519", "TLS_AES_128_GCM_SHA256");
    shard.busy(1500ms);
  }

  const auto series = parse(registry.scrape()).series;
  const std::string listener = "listener=\"127.0.0.1:8443\"";
  const auto at = [&](const std::string& key) {
    const auto found = series.find("sallyport_" + key);
    EXPECT_NE(found, series.end()) << key;
    return found == series.end() ? -1 : found->second;
  };
  EXPECT_EQ(at("connections{" + listener + ",route=\"orders\"}"), 2);
  EXPECT_EQ(at("connections{" + listener + ",route=\"\"}"), 0);
  EXPECT_EQ(at("connections_accepted_total{" + listener + "}"), 4);
  EXPECT_EQ(at("connections_closed_total{" + listener + ",route=\"\",reason=\"done\"}"), 2);
  EXPECT_EQ(at("tls_handshakes_total{" + listener + ",result=\"success\",resumed=\"false\"}"), 2);
  EXPECT_EQ(at("tls_handshakes_total{" + listener + ",result=\"success\",resumed=\"true\"}"), 0);
  EXPECT_EQ(at("tls_handshakes_total{" + listener + ",result=\"no_route\",resumed=\"false\"}"), 0);
  EXPECT_EQ(at("tls_handshakes_in_flight"), 0);
  EXPECT_EQ(at("received_bytes_total{route=\"orders\",leg=\"client\"}"), 200);
  EXPECT_EQ(at("sent_bytes_total{route=\"orders\",leg=\"backend\"}"), 180);
  EXPECT_EQ(at("sent_bytes_total{route=\"orders\",leg=\"client\"}"), 0);
  EXPECT_EQ(at("backend_connect_duration_seconds_count{route=\"orders\"}"), 2);
  EXPECT_EQ(at("tls_negotiated_total{version=\"TLSv1.3\",group=\"X25519\",cipher=\"TLS_AES_128_"
               "GCM_SHA256\"}"),
            2);
  EXPECT_EQ(at("shard_busy_seconds_total{shard=\"1\"}"), 1.5);
  EXPECT_EQ(at("ktls_fallback_total{reason=\"not_built\"}"), 0);
  EXPECT_EQ(at("tls_keyupdates_total{direction=\"receive\"}"), 0);
  EXPECT_EQ(at("records_connections{direction=\"send\",records=\"kernel\"}"), 0);
  EXPECT_EQ(
      at("build_info{version=\"0.1.0\",openssl=\"3.0.22\",kernel=\"6.18.0\",liburing=\"2.3\"}"), 1);
  EXPECT_FALSE(series.contains("sallyport_received_bytes_total{route=\"\",leg=\"client\"}"));
}

TEST(Registry, ShowsWhatTheKernelCanDoOnceItWasAsked) {
  Registry registry(kWordsOfRegistry, build());
  EXPECT_FALSE(parse(registry.scrape()).series.contains("sallyport_ktls_rekey_supported"));
  registry.set_ktls_support(
      {.ciphers = {{"TLSv1.3", "AES-128-GCM", true}, {"TLSv1.2", "ChaCha20-Poly1305", false}},
       .rekey = true});
  const auto series = parse(registry.scrape()).series;
  const std::string supported = "sallyport_ktls_supported{version=";
  EXPECT_EQ(series.at(supported + "\"TLSv1.3\",cipher=\"AES-128-GCM\"}"), 1);
  EXPECT_EQ(series.at(supported + "\"TLSv1.2\",cipher=\"ChaCha20-Poly1305\"}"), 0);
  EXPECT_EQ(series.at("sallyport_ktls_rekey_supported"), 1);
}

TEST(Registry, ShowsTheTlsLibraryOnceItIsKnown) {
  Registry registry(kWordsOfRegistry, build());
  EXPECT_FALSE(parse(registry.scrape()).series.contains("sallyport_tls_library{mode=\"tuned\"}"));
  registry.set_tls_library("tuned");
  EXPECT_EQ(parse(registry.scrape()).series.at("sallyport_tls_library{mode=\"tuned\"}"), 1);
  registry.set_tls_library("stock");
  const auto series = parse(registry.scrape()).series;
  EXPECT_EQ(series.at("sallyport_tls_library{mode=\"stock\"}"), 1);
  EXPECT_FALSE(series.contains("sallyport_tls_library{mode=\"tuned\"}"));
}

TEST(Registry, ShowsTheMaximumOfConnectionsAndTheLinesThatAreMissingByEachCause) {
  Registry registry(kWordsOfRegistry, build());
  registry.set_max_connections(1'000);
  registry.set_dropped_lines({{"slow_reader", 7}, {"disk_full", 0}});
  registry.set_left_out_lines({{"repeated", 3}});
  const auto series = parse(registry.scrape()).series;
  EXPECT_EQ(series.at("sallyport_max_connections"), 1'000);
  EXPECT_EQ(series.at("sallyport_log_lines_dropped_total{cause=\"slow_reader\"}"), 7);
  EXPECT_EQ(series.at("sallyport_log_lines_dropped_total{cause=\"disk_full\"}"), 0);
  EXPECT_EQ(series.at("sallyport_log_lines_left_out_total{cause=\"repeated\"}"), 3);
}

TEST(Registry, CountsWritesOfStateWhereThereIsADirectoryForIt) {
  Registry registry(kWordsOfRegistry, build());
  EXPECT_EQ(registry.scrape().find("state_writes_total{"), std::string::npos);
  registry.show_state_writes();
  registry.state_written(true);
  registry.state_written(true);
  const auto series = parse(registry.scrape()).series;
  EXPECT_EQ(series.at("sallyport_state_writes_total{result=\"success\"}"), 2);
  EXPECT_EQ(series.at("sallyport_state_writes_total{result=\"failure\"}"), 0);
}

TEST(Registry, GivesHistogramsTheBucketsOfTheContract) {
  Registry registry(kWordsOfRegistry, build());
  ListenerCells& listener = registry.add_shard(0).listener("l");
  StartedHandshake handshake(listener, 1U);
  handshake.ends_with(0U, true, 20ms);

  const std::string text = registry.scrape();
  const auto series = parse(text).series;
  double previous = 0;
  for (const char* bound : {"0.0005", "0.001", "0.0025", "0.005", "0.01", "0.02", "0.03", "0.04",
                            "0.05", "0.075", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"}) {
    const double limit = std::string_view(bound) == "+Inf" ? 1e9 : std::stod(bound);
    // The serializer may write 0.02 as 0.02 or as 0.020000000000000000: compare as numbers.
    bool found = false;
    for (const auto& [key, value] : series) {
      const std::string prefix =
          "sallyport_tls_handshake_duration_seconds_bucket{listener=\"l\",resumed=\"true\",le=\"";
      if (!key.starts_with(prefix)) continue;
      const std::string le = key.substr(prefix.size(), key.size() - prefix.size() - 2);
      if ((le == "+Inf" ? 1e9 : std::stod(le)) != limit) continue;
      found = true;
      EXPECT_EQ(value, limit >= 0.02 ? 1 : 0) << bound;
      EXPECT_GE(value, previous);
      previous = value;
    }
    EXPECT_TRUE(found) << bound << "\n" << text;
  }
}

TEST(Registry, ReplacesTheBackendsThatItHad) {
  Registry registry(kWordsOfRegistry, build());
  const Registry::SteadyTime start(1h);
  registry.set_backends({{.route = "orders",
                          .backend = "10.0.0.1:80",
                          .up = true,

                          .connect_failures = 3},
                         {.route = "orders", .backend = "10.0.0.2:80", .up = false}},
                        start);
  auto series = parse(registry.scrape()).series;
  EXPECT_EQ(series.at("sallyport_backend_up{route=\"orders\",backend=\"10.0.0.1:80\"}"), 1);
  EXPECT_EQ(series.at("sallyport_backend_up{route=\"orders\",backend=\"10.0.0.2:80\"}"), 0);

  registry.set_backends({{.route = "orders", .backend = "10.0.0.3:80", .up = true}}, start + 1s);
  series = parse(registry.scrape()).series;
  EXPECT_FALSE(series.contains("sallyport_backend_up{route=\"orders\",backend=\"10.0.0.1:80\"}"));
  EXPECT_EQ(series.at("sallyport_backend_up{route=\"orders\",backend=\"10.0.0.3:80\"}"), 1);

  const std::string failures =
      "sallyport_backend_connect_failures_total{route=\"orders\",backend=\"10.0.0.1:80\"}";
  EXPECT_EQ(series.at(failures), 3) << "for an hour";
  registry.set_backends({}, start + 1s + 1h);
  EXPECT_FALSE(parse(registry.scrape()).series.contains(failures));
}

TEST(Registry, ShowsEachOfManyBackendsOnceBehindOneHeader) {
  Registry registry(kWordsOfRegistry, build());
  std::vector<BackendFacts> backends;
  for (int i = 0; i < 2500; ++i)
    backends.push_back({.route = "orders", .backend = std::to_string(i), .up = i % 2 == 0});
  registry.set_backends(backends, Registry::SteadyTime(1h));
  const auto series = parse(registry.scrape()).series;  // fails on a second header or series
  for (int i = 0; i < 2500; ++i) {
    const std::string key =
        "sallyport_backend_up{route=\"orders\",backend=\"" + std::to_string(i) + "\"}";
    ASSERT_TRUE(series.contains(key)) << key;
    EXPECT_EQ(series.at(key), i % 2 == 0 ? 1 : 0);
  }
}

TEST(Registry, CountersOfABackendDoNotGoBackWhenAnAddressLeaves) {
  Registry registry(kWordsOfRegistry, build());
  const auto address = [](std::uint64_t failures) {
    return BackendFacts{.route = "orders",
                        .backend = "name:80",
                        .up = true,
                        .connect_failures = failures,
                        .ejections = failures / 2};
  };
  const auto shown = [&](const std::string& metric) {
    return parse(registry.scrape())
        .series.at("sallyport_" + metric + "{route=\"orders\",backend=\"name:80\"}");
  };
  registry.set_backends({address(4), address(6)}, {});
  EXPECT_EQ(shown("backend_connect_failures_total"), 10);
  registry.forget_backends({address(4)}, {});
  EXPECT_EQ(shown("backend_connect_failures_total"), 10);
  registry.set_backends({address(6)}, {});
  EXPECT_EQ(shown("backend_connect_failures_total"), 10);
  EXPECT_EQ(shown("backend_ejections_total"), 5);
  registry.set_backends({address(7), address(0)}, {});
  EXPECT_EQ(shown("backend_connect_failures_total"), 11);
}

TEST(Registry, CountsOfABackendThatLeftUnseenAreShownForAnHour) {
  Registry registry(kWordsOfRegistry, build());
  const Registry::SteadyTime start(1h);
  const std::string failures =
      "sallyport_backend_connect_failures_total{route=\"orders\",backend=\"10.0.0.1:80\"}";
  registry.forget_backends({{.route = "orders", .backend = "10.0.0.1:80", .connect_failures = 3}},
                           start);
  registry.set_backends({}, start + 59min);
  EXPECT_EQ(parse(registry.scrape()).series.at(failures), 3);
  registry.set_backends({}, start + 1h);
  EXPECT_FALSE(parse(registry.scrape()).series.contains(failures));
}

TEST(Registry, OfTooManyBackendsThatAreGoneThoseThatLeftLastAreShown) {
  Registry registry(kWordsOfRegistry, build());
  const auto names = [&] {
    std::set<std::string> all;
    for (const auto& [key, value] : parse(registry.scrape()).series)
      if (key.starts_with("sallyport_backend_connect_failures_total{")) all.insert(key);
    return all;
  };
  const auto key = [](std::size_t number) {
    return "sallyport_backend_connect_failures_total{route=\"orders\",backend=\"" +
           std::to_string(number) + "\"}";
  };
  registry.set_backends({{.route = "orders", .backend = "0", .up = true}}, {});
  for (std::size_t i = 0; i < Registry::kMostGone + 2; ++i)
    registry.forget_backends({{.route = "orders", .backend = std::to_string(i)}}, {});
  registry.set_backends({{.route = "orders", .backend = "0", .up = true}}, {});
  const auto shown = names();
  EXPECT_EQ(shown.size(), Registry::kMostGone + 1);
  EXPECT_TRUE(shown.contains(key(0))) << "it is here";
  EXPECT_FALSE(shown.contains(key(1)));
  EXPECT_TRUE(shown.contains(key(2)));
}

TEST(Registry, AddsUpTheAddressesOfABackend) {
  Registry registry(kWordsOfRegistry, build());
  registry.set_backends(
      {{.route = "orders", .backend = "name:80", .up = true, .connect_failures = 1},
       {.route = "orders",
        .backend = "name:80",
        .up = false,

        .connect_failures = 2}},
      {});
  const auto series = parse(registry.scrape()).series;
  EXPECT_EQ(series.at("sallyport_backend_up{route=\"orders\",backend=\"name:80\"}"), 1);
  EXPECT_EQ(
      series.at("sallyport_backend_connect_failures_total{route=\"orders\",backend=\"name:80\"}"),
      3);
}

TEST(Registry, CountsReloadsAndKeepsTheTimeOfTheLastSuccess) {
  Registry registry(kWordsOfRegistry, build());
  const auto second = [](int value) {
    return std::chrono::system_clock::time_point(std::chrono::seconds(value));
  };
  // "No well-defined expiration date" (RFC 5280 4.1.2.5); the system clock's type ends in 2262.
  constexpr std::chrono::sys_seconds kYear9999(253'402'300'799s);
  registry.config_loaded("policy", second(1'000));
  registry.config_reloaded("policy", true, second(2'000));
  registry.config_reloaded("policy", false, second(3'000));
  registry.set_certificates({{"server", "cert.pem", std::chrono::sys_seconds(7s), kYear9999}});
  registry.set_crls({{"ca.crl", std::chrono::sys_seconds(8s), kYear9999}});

  const auto series = parse(registry.scrape()).series;
  EXPECT_EQ(series.at("sallyport_config_reloads_total{source=\"policy\",result=\"success\"}"), 1);
  EXPECT_EQ(series.at("sallyport_config_reloads_total{source=\"policy\",result=\"failure\"}"), 1);
  EXPECT_EQ(series.at("sallyport_config_last_reload_success_timestamp_seconds{source=\"policy\"}"),
            2'000);
  EXPECT_EQ(series.at("sallyport_certificate_expiry_timestamp_seconds{role=\"server\",name=\"cert."
                      "pem\"}"),
            253'402'300'799);
  EXPECT_EQ(series.at("sallyport_certificate_not_before_timestamp_seconds{role=\"server\",name="
                      "\"cert.pem\"}"),
            7);
  EXPECT_EQ(series.at("sallyport_crl_next_update_timestamp_seconds{name=\"ca.crl\"}"),
            253'402'300'799);
  EXPECT_EQ(series.at("sallyport_crl_this_update_timestamp_seconds{name=\"ca.crl\"}"), 8);
}

TEST(Registry, EscapesLabelValuesAndReplacesWhatIsNotUtf8) {
  Registry registry(kWordsOfRegistry, build());
  registry.set_crls({{"a\"b\\c\nd\xFF", {}, {}}});
  EXPECT_THAT(registry.scrape(), HasSubstr("{name=\"a\\\"b\\\\c\\nd\xEF\xBF\xBD\"}"));
}

TEST(Registry, ReadsTheProcessItself) {
  Registry registry(kWordsOfRegistry, build());
  const auto series = parse(registry.scrape()).series;
  EXPECT_GE(series.at("process_threads"), 1);
  EXPECT_GE(series.at("process_open_fds"), 3);
  EXPECT_GT(series.at("process_resident_memory_bytes"), 100'000);
  EXPECT_GE(series.at("process_virtual_memory_bytes"), series.at("process_resident_memory_bytes"));
  EXPECT_GT(series.at("process_start_time_seconds"), 1'600'000'000);
}

TEST(Registry, ShowsZerosOfEverythingThatIsCountedForAConfiguredName) {
  Registry registry(kWordsOfRegistry, build());
  registry.add_shard(0).listener("l");
  registry.set_routes({"orders"});
  registry.set_backends({{.route = "orders", .backend = "10.0.0.1:80", .up = true}}, {});
  const auto series = parse(registry.scrape()).series;
  for (const std::string key :
       {"connections_closed_total{listener=\"l\",route=\"\",reason=\"done\"}",
        "connections_closed_total{listener=\"l\",route=\"orders\",reason=\"reset\"}",
        "connections{listener=\"l\",route=\"orders\"}",
        "tls_handshakes_total{listener=\"l\",result=\"no_route\",resumed=\"true\"}",
        "received_bytes_total{route=\"orders\",leg=\"client\"}",
        "backend_connect_duration_seconds_count{route=\"orders\"}",
        "backend_failovers_total{route=\"orders\"}",
        "backend_connect_failures_total{route=\"orders\",backend=\"10.0.0.1:80\"}"}) {
    ASSERT_TRUE(series.contains("sallyport_" + key)) << key;
    EXPECT_EQ(series.at("sallyport_" + key), 0) << key;
  }
}

TEST(Registry, ShowsTheSoonestExpiryOfConnectedClientsOverAllShards) {
  Registry registry(kWordsOfRegistry, build());
  ShardMetrics& one = registry.add_shard(0);
  ShardMetrics& other = registry.add_shard(1);
  const std::string orders =
      "sallyport_peer_certificate_soonest_expiry_timestamp_seconds{route=\"orders\"}";
  one.peer_expiry("orders").set(std::chrono::sys_seconds(200s));
  other.peer_expiry("orders").set(std::chrono::sys_seconds(100s));
  EXPECT_EQ(parse(registry.scrape()).series.at(orders), 100);

  one.peer_expiry("orders").set(std::nullopt);
  other.peer_expiry("orders").set(std::nullopt);
  EXPECT_FALSE(parse(registry.scrape()).series.contains(orders));
}

TEST(Registry, ScrapesWhileShardsCount) {
  Registry registry(kWordsOfRegistry, build());
  std::vector<std::thread> writers;
  for (const unsigned index : {0U, 1U}) {
    ShardMetrics& shard = registry.add_shard(index);
    writers.emplace_back([&shard] {
      ListenerCells& listener = shard.listener("l");
      for (int i = 0; i < 2'000; ++i) {
        OpenConnection connection(listener, Closed::kDone);
        connection.routed("r" + std::to_string(i % 50));
      }
    });
  }
  for (int scrapes = 0; scrapes < 10; ++scrapes) {
    double accepted = 0, open_and_closed = 0;
    for (const auto& [key, value] : parse(registry.scrape()).series) {
      if (key.starts_with("sallyport_connections_accepted_total{")) accepted += value;
      if (key.starts_with("sallyport_connections{")) open_and_closed += value;
      if (key.starts_with("sallyport_connections_closed_total{")) open_and_closed += value;
    }
    EXPECT_EQ(accepted, open_and_closed);
  }
  for (std::thread& writer : writers) writer.join();
}

TEST(Registry, ShowsLiveConnectionsThatWereJudgedAgain) {
  Registry registry(kWordsOfRegistry, build());
  ShardMetrics& one = registry.add_shard(0);
  ShardMetrics& other = registry.add_shard(1);
  registry.set_generation(7);
  one.kept(0);
  one.kept(0);
  other.kept(0);
  one.kept_no_more(0);
  one.live_recheck(std::chrono::milliseconds(30), std::chrono::microseconds(150));
  other.live_recheck(std::chrono::milliseconds(40), std::chrono::microseconds(100));

  const std::map<std::string, double> series = parse(registry.scrape()).series;
  EXPECT_EQ(series.at("sallyport_connections_kept{cause=\"revoked\"}"), 2);
  EXPECT_EQ(series.at("sallyport_connections_kept{cause=\"expired\"}"), 0);
  EXPECT_EQ(series.at("sallyport_generation"), 7);
  EXPECT_EQ(series.at("sallyport_live_rechecks_total"), 2);
  EXPECT_EQ(series.at("sallyport_live_recheck_duration_seconds"), 0.04);
  EXPECT_EQ(series.at("sallyport_live_recheck_longest_turn_seconds"), 0.00015);
}

}  // namespace
}  // namespace sallyport::metrics
