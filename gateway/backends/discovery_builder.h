// Puts a Discovery together, whatever the form of the file.
#pragma once

#include <cstddef>
#include <expected>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "gateway/backends/discovery.h"
#include "gateway/backends/target.h"
#include "gateway/policy/config_error.h"

namespace sallyport::gateway {

/// What the readers of all forms have in common: a target that is given twice is one endpoint, and
/// of several like warnings one is made. Errors name file, line and key.
class DiscoveryBuilder {
 public:
  explicit DiscoveryBuilder(std::string_view file) { discovery_.file = file; }

  [[nodiscard]] ConfigError error(unsigned line, std::string key, std::string what) const {
    return {discovery_.file, line, std::move(key), std::move(what)};
  }
  [[nodiscard]] std::unexpected<ConfigError> refuse(unsigned line, std::string key,
                                                    std::string what) const {
    return std::unexpected(error(line, std::move(key), std::move(what)));
  }

  /// The number of the route of this name, which need not be a good one: it is then made printable,
  /// since it stands in logs and metrics.
  std::size_t route(const std::string& name, unsigned line);
  /// The route will have no targets. The first reason counts.
  void refuse_route(std::size_t route, ConfigError why);
  void warn(std::size_t route, ConfigError warning) {
    building_[route].odd[warning.what].add(std::move(warning));
  }
  void ignore_group() { ++discovery_.ignored_groups; }

  /// What item `index` of the list with the key `list` says. The error is one of the route.
  [[nodiscard]] std::expected<void, ConfigError> add(
      std::size_t route, const std::string& text, const std::shared_ptr<const GroupLabels>& labels,
      unsigned line, const std::string& list, std::size_t index);

  /// Once.
  [[nodiscard]] Discovery finish();

 private:
  // The first of several like findings, and how many there are: one warning is made of them.
  class Tally {
   public:
    void add(ConfigError finding) {
      if (count_++ == 0) first_ = std::move(finding);
    }
    void report(std::vector<ConfigError>& warnings);

   private:
    ConfigError first_;
    std::size_t count_ = 0;
  };
  // A route while its targets are read; its index is that of the DiscoveredRoute.
  struct Building {
    std::unordered_map<std::string, std::size_t> seen;  // index by canonical target
    std::unordered_set<std::size_t> contradictory;
    std::map<std::string, Tally> odd;  // by what it says
    Tally repeated, left_out;
  };

  void merge(std::size_t route, std::size_t index, const GroupLabels& labels, unsigned line,
             std::string key);
  void finish(std::size_t route);

  Discovery discovery_;
  std::unordered_map<std::string, std::size_t> indexes_;
  std::vector<Building> building_;
};

}  // namespace sallyport::gateway
