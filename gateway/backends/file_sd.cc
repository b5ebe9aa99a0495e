#include "gateway/backends/file_sd.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <memory>
#include <string>
#include <utility>

#include "gateway/backends/discovery_builder.h"
#include "gateway/policy/host_name.h"
#include "gateway/policy/json_reader.h"
#include "gateway/policy/number.h"
#include "gateway/policy/pattern.h"
#include "gateway/policy/suggestion.h"

namespace sallyport::gateway {
namespace {

constexpr EndpointState kStates[] = {EndpointState::kReady, EndpointState::kDraining,
                                     EndpointState::kDown};
constexpr std::string_view kStateWords[] = {"ready", "draining", "down"};
constexpr unsigned kMaxWeight = 65535;
constexpr std::string_view kGroupKeys[] = {"targets", "labels"};
constexpr std::string_view kLabels[] = {"route", "weight", "state", "zone", "tls_name", "tls_id"};

using Outcome = std::expected<void, ConfigError>;

class FileSdReader {
 public:
  explicit FileSdReader(std::string_view file) : builder_(file) {}

  std::expected<Discovery, ConfigError> read(const JsonValue& root);

 private:
  Outcome read_group(const JsonValue& group, const std::string& key);
  Outcome read_group_of(std::size_t route, const JsonValue& group, const std::string& key);
  Outcome check_form(const JsonValue& group, const std::string& key) const;
  Outcome check_targets(const JsonValue* targets, const std::string& key) const;
  Outcome check_labels(const JsonValue* labels, const std::string& key) const;
  Outcome read_label(GroupLabels& labels, const JsonMember& label, const std::string& key) const;
  void warn_of_misspelt(std::size_t route, const JsonMember& label, const std::string& key);
  Outcome read_targets(std::size_t route, const JsonValue& targets, const std::string& key,
                       const std::shared_ptr<const GroupLabels>& labels);

  DiscoveryBuilder builder_;
};

std::expected<Discovery, ConfigError> FileSdReader::read(const JsonValue& root) {
  const JsonValue::Array* groups = root.array();
  if (!groups) {
    return builder_.refuse(root.line, "",
                           "must be an array of groups, not " + std::string(root.kind()));
  }
  for (std::size_t i = 0; i < groups->size(); ++i) {
    auto read = read_group((*groups)[i], item_key("", i));
    if (!read) return std::unexpected(std::move(read.error()));
  }
  return builder_.finish();
}

// The error refuses the file; one of the group's route is kept with the route.
Outcome FileSdReader::read_group(const JsonValue& group, const std::string& key) {
  if (!group.object()) {
    return builder_.refuse(
        group.line, key,
        "must be an object with \"targets\" and \"labels\", not " + std::string(group.kind()));
  }
  const JsonValue* labels = group.find("labels");
  const JsonValue* name = labels ? labels->find("route") : nullptr;
  if (!name || !name->string() || name->string()->empty()) {
    auto checked = check_form(group, key);
    if (checked) builder_.ignore_group();
    return checked;
  }
  const std::size_t route = builder_.route(*name->string(), name->line);
  auto read = read_group_of(route, group, key);
  if (!read) builder_.refuse_route(route, std::move(read.error()));
  return {};
}

Outcome FileSdReader::check_form(const JsonValue& group, const std::string& key) const {
  for (const JsonMember& member : *group.object()) {
    if (std::ranges::find(kGroupKeys, member.key) != std::end(kGroupKeys)) continue;
    return builder_.refuse(member.line, key + "." + printable(member.key),
                           "unknown key" + did_you_mean(member.key, kGroupKeys));
  }
  if (auto checked = check_targets(group.find("targets"), key + ".targets"); !checked) {
    return checked;
  }
  return check_labels(group.find("labels"), key + ".labels");
}

Outcome FileSdReader::read_group_of(std::size_t route, const JsonValue& group,
                                    const std::string& key) {
  if (auto checked = check_form(group, key); !checked) return checked;
  const JsonValue& labels = *group.find("labels");
  const JsonValue& name = *labels.find("route");
  if (!is_route_name(*name.string())) {
    return builder_.refuse(name.line, key + ".labels.route",
                           "a route's name has 1 to 255 bytes and no control characters");
  }
  auto group_labels = std::make_shared<GroupLabels>();
  for (const JsonMember& label : *labels.object()) {
    const std::string place = key + ".labels." + printable(label.key);
    auto read = read_label(*group_labels, label, place);
    if (!read) return read;
    warn_of_misspelt(route, label, place);
  }
  const JsonValue* targets = group.find("targets");
  if (!targets || targets->is_null()) return {};
  return read_targets(route, *targets, key + ".targets", group_labels);
}

Outcome FileSdReader::check_targets(const JsonValue* targets, const std::string& key) const {
  if (!targets || targets->is_null()) return {};
  const JsonValue::Array* items = targets->array();
  if (!items) {
    return builder_.refuse(targets->line, key,
                           "must be an array of strings, not " + std::string(targets->kind()));
  }
  for (std::size_t i = 0; i < items->size(); ++i) {
    const JsonValue& item = (*items)[i];
    if (item.string()) continue;
    return builder_.refuse(item.line, key + "[" + std::to_string(i) + "]",
                           "must be a string, not " + std::string(item.kind()));
  }
  return {};
}

Outcome FileSdReader::check_labels(const JsonValue* labels, const std::string& key) const {
  if (!labels || labels->is_null()) return {};
  const JsonValue::Object* members = labels->object();
  if (!members) {
    return builder_.refuse(labels->line, key,
                           "must be an object, not " + std::string(labels->kind()));
  }
  for (const JsonMember& label : *members) {
    if (label.value.string()) continue;
    return builder_.refuse(label.value.line, key + "." + printable(label.key),
                           "must be a string, not " + std::string(label.value.kind()));
  }
  return {};
}

Outcome FileSdReader::read_label(GroupLabels& labels, const JsonMember& label,
                                 const std::string& key) const {
  const std::string& value = *label.value.string();
  if (label.key == "route") return {};
  if (label.key == "weight") {
    const auto weight = parse_number<unsigned>(value);
    if (!weight || *weight > kMaxWeight)
      return builder_.refuse(label.value.line, key, "must be a number from 0 to 65535");
    labels.weight = *weight;
    return {};
  }
  if (label.key == "state") {
    const auto state =
        std::ranges::find(kStates, value, [](EndpointState s) { return to_string(s); });
    if (state == std::end(kStates)) {
      return builder_.refuse(
          label.value.line, key,
          "must be one of ready, draining, down" + did_you_mean(value, kStateWords));
    }
    labels.state = *state;
    return {};
  }
  if (label.key == "zone") {
    labels.zone = value;
    return {};
  }
  if (label.key == "tls_name") {
    if (!is_host_name(value, Underscore::kAllowed) && !is_ip_literal(value)) {
      return builder_.refuse(label.value.line, key, "must be a host name or an IP address");
    }
    labels.tls_name = value;
    return {};
  }
  if (label.key == "tls_id") {
    const auto id = IdentityPattern::parse(value);
    if (!id) return builder_.refuse(label.value.line, key, id.error());
    if (id->has_wildcard())
      return builder_.refuse(label.value.line, key, "must be one identity, without a wildcard");
    labels.tls_id = id->text();
  }
  return {};
}

// Free labels are the operator's: a warning, and only where the value would do ("stage": "test" is
// no misspelt "state").
void FileSdReader::warn_of_misspelt(std::size_t route, const JsonMember& label,
                                    const std::string& key) {
  const auto meant = nearest(label.key, kLabels);
  const std::string& value = *label.value.string();
  if (!meant || (*meant == "weight" && !parse_number<unsigned>(value))) return;
  if (*meant == "state" && std::ranges::find(kStateWords, value) == std::end(kStateWords)) return;
  builder_.warn(route, builder_.error(label.line, key,
                                      "is no label of ours" + did_you_mean(label.key, kLabels)));
}

Outcome FileSdReader::read_targets(std::size_t route, const JsonValue& targets,
                                   const std::string& key,
                                   const std::shared_ptr<const GroupLabels>& labels) {
  const JsonValue::Array& items = *targets.array();
  for (std::size_t i = 0; i < items.size(); ++i) {
    auto added = builder_.add(route, *items[i].string(), labels, items[i].line, key, i);
    if (!added) return added;
  }
  return {};
}

}  // namespace

std::expected<Discovery, ConfigError> read_file_sd(const JsonValue& root, std::string_view file) {
  return FileSdReader(file).read(root);
}

}  // namespace sallyport::gateway
