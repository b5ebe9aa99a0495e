// Routes by the dozen, each with its own policy, and canaries that visit them.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/e2e/scenario.h"
#include "tests/support/canary.h"

namespace sallyport::test {

class FaultScenario : public Scenario {
 protected:
  FaultScenario() {
    server = root.issue({.cn = "gateway", .dns = {"orders.example.org", "*.example.org"}});
  }

  /// Starts with these routes, NAME.example.org each: its name and the other keys of its policy.
  Gateway& start_routes(const std::vector<std::pair<std::string, std::string>>& routes,
                        std::vector<std::string> given = {}) {
    std::string text;
    for (const auto& [name, keys] : routes) {
      text += (text.empty() ? "" : ",\n") + ("\"" + name) + R"(": {"sni": [")" + name +
              R"(.example.org"], "allow": ["spiffe://example.org/**"])" +
              (keys.empty() ? "" : ", " + keys) + "}";
    }
    given.insert(
        given.end(),
        {"--policy", dir.write("policy.json", R"({"routes": {)" + text + "}}"), "--shards", "2"});
    return start(given);
  }
  ClientOptions to(const std::string& route) const {
    ClientOptions options = as(client);
    options.sni = route + ".example.org";
    return options;
  }
  double of(const std::string& metric, const std::string& route,
            const std::string& backend = "") const {
    Metrics::Labels labels{{"route", route}};
    if (!backend.empty()) labels["backend"] = backend;
    return gateway->metrics().sum(metric, labels);
  }
  /// The lines of these visits, by their source.
  std::map<std::string, LogLine> lines_of(const std::vector<Visit>& visits) const {
    std::map<std::string, LogLine> lines;
    wait_until("each visit has its line in the log", [&] {
      for (LogLine& line : gateway->connection_log()) lines[line.at("client")] = std::move(line);
      return std::ranges::all_of(visits,
                                 [&](const Visit& each) { return lines.contains(each.source); });
    });
    return lines;
  }
};

}  // namespace sallyport::test
