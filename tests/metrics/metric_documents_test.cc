#include "metrics/metric_documents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "metrics/table.h"

namespace sallyport::metrics {
namespace {

using nlohmann::json;
using testing::HasSubstr;

constexpr const char* kAgain = "write_metric_documents writes it again";

std::string in_tree(const std::string& path) {
  std::ifstream file(std::string(SOURCE_ROOT) + "/" + path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// The panels that show something.
std::vector<json> drawn_panels() {
  std::vector<json> panels;
  for (const json& panel : json::parse(metric_dashboard())["panels"]) {
    if (panel["type"] != "row") panels.push_back(panel);
  }
  return panels;
}

bool occurs(const json& panel, const std::string& name) {
  for (const json& target : panel["targets"]) {
    const std::string expression = target["expr"];
    if (expression.find(name + "{") != std::string::npos ||
        expression.find(name + "_bucket{") != std::string::npos)
      return true;
  }
  return false;
}

TEST(MetricDocuments, AreThoseOfTheTree) {
  EXPECT_EQ(in_tree("docs/metrics.md"), metric_reference()) << kAgain;
  EXPECT_EQ(in_tree("deploy/grafana/sallyport.json"), metric_dashboard()) << kAgain;
}

TEST(MetricReference, HasARowForEachMetric) {
  const std::string text = metric_reference();
  for (const Metric& each : kTable) {
    EXPECT_THAT(text, HasSubstr("\n| `" + std::string(each.name) + "` | "));
    EXPECT_THAT(text, HasSubstr(" | " + std::string(each.help)));
  }
}

TEST(MetricDashboard, ShowsEachMetricOnce) {
  for (const Metric& each : kTable) {
    int panels = 0;
    for (const json& panel : drawn_panels())
      panels += occurs(panel, std::string(each.name)) ? 1 : 0;
    EXPECT_EQ(panels, 1) << each.name;
  }
}

// What a label is written as would make a curve of the sum otherwise, silently.
TEST(MetricDashboard, NamesLabelsThatTheMetricHas) {
  for (const json& panel : drawn_panels()) {
    const std::string legend = panel["targets"][0]["legendFormat"];
    for (const Metric& each : kTable) {
      if (!occurs(panel, std::string(each.name))) continue;
      std::set<std::string> known{"instance"};
      for (const std::string_view label : each.labels()) known.emplace(label);
      for (std::size_t at = legend.find("{{"); at != std::string::npos;
           at = legend.find("{{", at + 1)) {
        const std::string label = legend.substr(at + 2, legend.find("}}", at) - at - 2);
        EXPECT_TRUE(known.contains(label)) << each.name << " has no " << label;
      }
    }
  }
}

TEST(MetricDashboard, LaysPanelsBesideAndBelowEachOther) {
  std::set<std::pair<int, int>> places;
  std::set<int> ids;
  for (const json& panel : json::parse(metric_dashboard())["panels"]) {
    const json& at = panel["gridPos"];
    EXPECT_TRUE(places.emplace(at["x"], at["y"]).second) << panel["title"];
    EXPECT_LE(at["x"].get<int>() + at["w"].get<int>(), 24) << panel["title"];
    EXPECT_TRUE(ids.insert(panel["id"].get<int>()).second) << panel["title"];
  }
}

}  // namespace
}  // namespace sallyport::metrics
