#include "gateway/backends/load_assignment.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "gateway/backends/discovery_builder.h"
#include "gateway/backends/proto_message.h"
#include "gateway/policy/host_name.h"
#include "gateway/policy/json_reader.h"

namespace sallyport::gateway {
namespace {

using Outcome = std::expected<void, ConfigError>;
using Use = ProtoField::Use;

constexpr std::string_view kType =
    "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
constexpr std::int64_t kHeaviest = 65'535;
constexpr std::int64_t kLastPort = 65'535;

constexpr std::array kResponse{ProtoField{"@type", Use::kIgnored},
                               ProtoField{"version_info", Use::kIgnored},
                               ProtoField{"resources"},
                               ProtoField{"canary", Use::kIgnored},
                               ProtoField{"type_url"},
                               ProtoField{"nonce", Use::kIgnored},
                               ProtoField{"control_plane", Use::kIgnored}};
constexpr std::array kAssignment{
    ProtoField{"@type"}, ProtoField{"cluster_name"}, ProtoField{"endpoints"},
    ProtoField{"named_endpoints", Use::kRefused}, ProtoField{"policy"}};
// Overprovisioning is about priorities, of which there is one.
constexpr std::array kPolicy{ProtoField{"drop_overloads", Use::kRefused},
                             ProtoField{"endpoint_stale_after", Use::kRefused},
                             ProtoField{"overprovisioning_factor", Use::kIgnored},
                             ProtoField{"weighted_priority_health", Use::kIgnored}};
constexpr std::array kLocalityEndpoints{ProtoField{"locality"},
                                        ProtoField{"lb_endpoints"},
                                        ProtoField{"priority"},
                                        ProtoField{"load_balancing_weight"},
                                        ProtoField{"metadata", Use::kIgnored},
                                        ProtoField{"proximity", Use::kIgnored},
                                        ProtoField{"load_balancer_endpoints", Use::kRefused},
                                        ProtoField{"leds_cluster_locality_config", Use::kRefused}};
constexpr std::array kLocality{ProtoField{"zone"}, ProtoField{"region", Use::kIgnored},
                               ProtoField{"sub_zone", Use::kIgnored}};
constexpr std::array kLbEndpoint{
    ProtoField{"endpoint"}, ProtoField{"health_status"}, ProtoField{"load_balancing_weight"},
    ProtoField{"metadata", Use::kIgnored}, ProtoField{"endpoint_name", Use::kRefused}};
// The hostname is for health checks and rewritten HTTP.
constexpr std::array kEndpoint{ProtoField{"address"}, ProtoField{"hostname", Use::kIgnored},
                               ProtoField{"health_check_config", Use::kIgnored},
                               ProtoField{"additional_addresses"}};
constexpr std::array kAddress{ProtoField{"socket_address"}, ProtoField{"pipe"},
                              ProtoField{"envoy_internal_address", Use::kRefused}};
constexpr std::array kSocketAddress{ProtoField{"address"},
                                    ProtoField{"port_value"},
                                    ProtoField{"protocol"},
                                    ProtoField{"ipv4_compat", Use::kIgnored},
                                    ProtoField{"named_port", Use::kRefused},
                                    ProtoField{"resolver_name", Use::kRefused},
                                    ProtoField{"network_namespace_filepath", Use::kRefused}};
constexpr std::array kPipe{ProtoField{"path"}, ProtoField{"mode", Use::kIgnored}};

constexpr std::array<std::string_view, 2> kProtocols{"TCP", "UDP"};
constexpr std::array<std::string_view, 6> kHealth{"UNKNOWN",  "HEALTHY", "UNHEALTHY",
                                                  "DRAINING", "TIMEOUT", "DEGRADED"};
constexpr std::size_t kUnhealthy = 2;
constexpr std::size_t kDraining = 3;
constexpr std::size_t kTimeout = 4;
constexpr std::size_t kDegraded = 5;

bool has_assignment(const JsonValue& value) {
  const JsonValue::Object* const members = value.object();
  return members != nullptr && std::ranges::any_of(*members, [](const JsonMember& member) {
           const std::string name = proto_name(member.key);
           return name == "cluster_name" || name == "resources" || name == "@type";
         });
}

class LoadAssignmentReader {
 public:
  explicit LoadAssignmentReader(std::string_view file) : file_(file), builder_(file) {}

  std::expected<Discovery, ConfigError> read(const JsonValue& root);

 private:
  using Message = std::expected<ProtoMessage, ConfigError>;

  std::unexpected<ConfigError> refuse(const ProtoValue& at, std::string what) const {
    return builder_.refuse(at.value->line, at.key, std::move(what));
  }
  template <std::size_t kCount>
  Message message(const ProtoValue& at, const std::array<ProtoField, kCount>& fields) const {
    return ProtoMessage::read(at, fields, file_);
  }

  // Their errors refuse the file.
  Outcome read_list(const ProtoValue& list);
  Outcome read_item(const ProtoValue& item);
  Outcome read_response(const ProtoValue& response);
  Outcome read_assignment(const ProtoValue& assignment);
  Outcome check_type(const ProtoValue& type) const;

  // Their errors refuse the route.
  Outcome read_assignment_of(std::size_t route, const ProtoValue& assignment);
  Outcome read_locality(std::size_t route, const ProtoValue& endpoints);
  Outcome read_endpoint(std::size_t route, const ProtoValue& list, std::size_t index,
                        const std::string& zone);
  std::expected<std::string, ConfigError> zone_of(const ProtoMessage& endpoints) const;
  std::expected<std::uint32_t, ConfigError> weight_of(const ProtoMessage& endpoint) const;
  std::expected<EndpointState, ConfigError> state_of(std::size_t route,
                                                     const ProtoMessage& endpoint);
  std::expected<std::string, ConfigError> target_of(std::size_t route, const ProtoValue& at,
                                                    const ProtoMessage& lb_endpoint);
  std::expected<std::string, ConfigError> socket_of(const ProtoValue& address) const;
  std::expected<std::string, ConfigError> pipe_of(const ProtoValue& pipe) const;
  std::expected<const JsonValue::Array*, ConfigError> list_of(const ProtoValue& list) const;
  std::expected<std::string, ConfigError> text_of(const ProtoMessage& message, const ProtoValue& at,
                                                  std::string_view name) const;
  std::shared_ptr<const GroupLabels> shared(GroupLabels labels);

  std::string file_;
  DiscoveryBuilder builder_;
  std::set<std::size_t> assigned_;
  std::shared_ptr<const GroupLabels> labels_;  // made last
};

std::expected<Discovery, ConfigError> LoadAssignmentReader::read(const JsonValue& root) {
  const ProtoValue all{&root, ""};
  auto read = root.array() != nullptr ? read_list(all) : read_item(all);
  if (!read) return std::unexpected(std::move(read.error()));
  return builder_.finish();
}

Outcome LoadAssignmentReader::read_list(const ProtoValue& list) {
  const auto items = list_of(list);
  if (!items) return std::unexpected(items.error());
  for (std::size_t i = 0; i < (*items)->size(); ++i) {
    auto read = read_item({&(**items)[i], item_key(list.key, i)});
    if (!read) return read;
  }
  return {};
}

Outcome LoadAssignmentReader::read_item(const ProtoValue& item) {
  return item.value->find("resources") != nullptr ? read_response(item) : read_assignment(item);
}

Outcome LoadAssignmentReader::read_response(const ProtoValue& response) {
  const Message fields = message(response, kResponse);
  if (!fields) return std::unexpected(fields.error());
  if (const auto type = fields->find("type_url")) {
    if (auto checked = check_type(*type); !checked) return checked;
  }
  const auto resources = fields->find("resources");
  if (!resources) return {};
  const auto items = list_of(*resources);
  if (!items) return std::unexpected(items.error());
  for (std::size_t i = 0; i < (*items)->size(); ++i) {
    auto read = read_assignment({&(**items)[i], item_key(resources->key, i)});
    if (!read) return read;
  }
  return {};
}

Outcome LoadAssignmentReader::check_type(const ProtoValue& type) const {
  if (type.value->string() != nullptr && *type.value->string() == kType) return {};
  return refuse(type, "must be " + std::string(kType));
}

// Its fields are looked at once its route is known.
Outcome LoadAssignmentReader::read_assignment(const ProtoValue& assignment) {
  const JsonValue::Object* const members = assignment.value->object();
  if (members == nullptr) {
    return refuse(assignment,
                  "must be a ClusterLoadAssignment, not " + std::string(assignment.value->kind()));
  }
  const JsonMember* name = nullptr;
  for (const JsonMember& member : *members) {
    if (proto_name(member.key) == "cluster_name") name = &member;
    if (member.key != "@type") continue;
    auto checked = check_type({&member.value, join_key(assignment.key, member.key)});
    if (!checked) return checked;
  }
  if (name == nullptr || name->value.string() == nullptr || name->value.string()->empty())
    return refuse(assignment, "has no cluster_name, which is the route");
  const std::size_t route = builder_.route(*name->value.string(), name->line);
  auto read = read_assignment_of(route, assignment);
  if (!read) builder_.refuse_route(route, std::move(read.error()));
  return {};
}

Outcome LoadAssignmentReader::read_assignment_of(std::size_t route, const ProtoValue& assignment) {
  const Message fields = message(assignment, kAssignment);
  if (!fields) return std::unexpected(fields.error());
  const ProtoValue name = *fields->find("cluster_name");
  if (!is_route_name(*name.value->string()))
    return refuse(name, "a route's name has 1 to 255 bytes and no control characters");
  if (!assigned_.insert(route).second) return refuse(name, "this cluster is assigned twice");
  if (const auto policy = fields->find("policy")) {
    if (const Message known = message(*policy, kPolicy); !known)
      return std::unexpected(known.error());
  }
  const auto endpoints = fields->find("endpoints");
  if (!endpoints) return {};
  const auto items = list_of(*endpoints);
  if (!items) return std::unexpected(items.error());
  for (std::size_t i = 0; i < (*items)->size(); ++i) {
    auto read = read_locality(route, {&(**items)[i], item_key(endpoints->key, i)});
    if (!read) return read;
  }
  return {};
}

Outcome LoadAssignmentReader::read_locality(std::size_t route, const ProtoValue& endpoints) {
  const Message fields = message(endpoints, kLocalityEndpoints);
  if (!fields) return std::unexpected(fields.error());
  // Endpoints that wait for others to fail must not get their share at once.
  if (const auto priority = fields->find("priority");
      priority && proto_number(*priority->value) != 0)
    return refuse(*priority, "must be 0: other priorities are not supported by this version");
  if (const auto weight = fields->find("load_balancing_weight")) {
    builder_.warn(route, builder_.error(weight->value->line, weight->key,
                                        "is ignored: an endpoint has its own weight alone"));
  }
  const auto zone = zone_of(*fields);
  if (!zone) return std::unexpected(zone.error());
  const auto list = fields->find("lb_endpoints");
  if (!list) return {};
  const auto items = list_of(*list);
  if (!items) return std::unexpected(items.error());
  for (std::size_t i = 0; i < (*items)->size(); ++i) {
    auto read = read_endpoint(route, *list, i, *zone);
    if (!read) return read;
  }
  return {};
}

std::expected<std::string, ConfigError> LoadAssignmentReader::zone_of(
    const ProtoMessage& endpoints) const {
  const auto locality = endpoints.find("locality");
  if (!locality) return "";
  const Message fields = message(*locality, kLocality);
  if (!fields) return std::unexpected(fields.error());
  const auto zone = fields->find("zone");
  if (!zone) return "";
  if (zone->value->string() == nullptr)
    return refuse(*zone, "must be a string, not " + std::string(zone->value->kind()));
  return *zone->value->string();
}

Outcome LoadAssignmentReader::read_endpoint(std::size_t route, const ProtoValue& list,
                                            std::size_t index, const std::string& zone) {
  const ProtoValue at{&(*list.value->array())[index], item_key(list.key, index)};
  const Message fields = message(at, kLbEndpoint);
  if (!fields) return std::unexpected(fields.error());
  const auto weight = weight_of(*fields);
  if (!weight) return std::unexpected(weight.error());
  const auto state = state_of(route, *fields);
  if (!state) return std::unexpected(state.error());
  const auto target = target_of(route, at, *fields);
  if (!target) return std::unexpected(target.error());
  const auto labels = shared({.weight = *weight, .state = *state, .zone = zone});
  return builder_.add(route, *target, labels, at.value->line, list.key, index);
}

// Those of one locality mostly have the same.
std::shared_ptr<const GroupLabels> LoadAssignmentReader::shared(GroupLabels labels) {
  if (!labels_ || *labels_ != labels)
    labels_ = std::make_shared<const GroupLabels>(std::move(labels));
  return labels_;
}

// As Envoy has it, one without a weight counts as 1.
std::expected<std::uint32_t, ConfigError> LoadAssignmentReader::weight_of(
    const ProtoMessage& endpoint) const {
  const auto weight = endpoint.find("load_balancing_weight");
  if (!weight) return 1;
  const auto number = proto_number(*weight->value);
  if (!number || *number < 1 || *number > kHeaviest)
    return refuse(*weight, "must be a number from 1 to 65535");
  return static_cast<std::uint32_t>(*number);
}

std::expected<EndpointState, ConfigError> LoadAssignmentReader::state_of(
    std::size_t route, const ProtoMessage& endpoint) {
  const auto health = endpoint.find("health_status");
  if (!health) return EndpointState::kReady;
  const auto status = proto_enum(*health->value, kHealth);
  if (!status) {
    return refuse(*health,
                  "must be one of UNKNOWN, HEALTHY, UNHEALTHY, DRAINING, TIMEOUT, DEGRADED");
  }
  if (*status == kUnhealthy || *status == kTimeout) return EndpointState::kDown;
  if (*status == kDraining) return EndpointState::kDraining;
  if (*status == kDegraded) {
    builder_.warn(route,
                  builder_.error(health->value->line, health->key, "DEGRADED counts as HEALTHY"));
  }
  return EndpointState::kReady;
}

std::expected<std::string, ConfigError> LoadAssignmentReader::target_of(
    std::size_t route, const ProtoValue& at, const ProtoMessage& lb_endpoint) {
  const auto endpoint = lb_endpoint.find("endpoint");
  if (!endpoint) return refuse(at, "has no endpoint");
  const Message fields = message(*endpoint, kEndpoint);
  if (!fields) return std::unexpected(fields.error());
  if (const auto more = fields->find("additional_addresses")) {
    builder_.warn(
        route, builder_.error(more->value->line, more->key, "is ignored: only the address counts"));
  }
  const auto address = fields->find("address");
  if (!address) return refuse(*endpoint, "has no address");
  const Message kinds = message(*address, kAddress);
  if (!kinds) return std::unexpected(kinds.error());
  const auto socket = kinds->find("socket_address");
  const auto pipe = kinds->find("pipe");
  if (socket.has_value() == pipe.has_value())
    return refuse(*address, "must have either socket_address or pipe");
  return socket ? socket_of(*socket) : pipe_of(*pipe);
}

std::expected<std::string, ConfigError> LoadAssignmentReader::socket_of(
    const ProtoValue& address) const {
  const Message fields = message(address, kSocketAddress);
  if (!fields) return std::unexpected(fields.error());
  if (const auto protocol = fields->find("protocol")) {
    if (proto_enum(*protocol->value, kProtocols) != 0) return refuse(*protocol, "must be TCP");
  }
  const auto host = text_of(*fields, address, "address");
  if (!host) return host;
  const auto port = fields->find("port_value");
  if (!port) return refuse(address, "has no port_value");
  const auto number = proto_number(*port->value);
  if (!number || *number < 1 || *number > kLastPort)
    return refuse(*port, "must be a number from 1 to 65535");
  const std::string text = host->contains(':') ? "[" + *host + "]" : *host;
  return text + ":" + std::to_string(*number);
}

std::expected<std::string, ConfigError> LoadAssignmentReader::pipe_of(
    const ProtoValue& pipe) const {
  const Message fields = message(pipe, kPipe);
  if (!fields) return std::unexpected(fields.error());
  auto path = text_of(*fields, pipe, "path");
  if (!path) return path;
  return "unix:" + *path;
}

std::expected<std::string, ConfigError> LoadAssignmentReader::text_of(const ProtoMessage& message,
                                                                      const ProtoValue& at,
                                                                      std::string_view name) const {
  const auto text = message.find(name);
  if (!text) return refuse(at, "has no " + std::string(name));
  if (text->value->string() == nullptr || text->value->string()->empty())
    return refuse(*text, "must be a text that is not empty");
  return *text->value->string();
}

std::expected<const JsonValue::Array*, ConfigError> LoadAssignmentReader::list_of(
    const ProtoValue& list) const {
  if (const JsonValue::Array* items = list.value->array()) return items;
  return refuse(list, "must be an array, not " + std::string(list.value->kind()));
}

}  // namespace

bool has_load_assignments(const JsonValue& root) {
  const JsonValue::Array* const items = root.array();
  if (items == nullptr) return has_assignment(root);
  return !items->empty() && has_assignment(items->front());
}

std::expected<Discovery, ConfigError> read_load_assignments(const JsonValue& root,
                                                            std::string_view file) {
  return LoadAssignmentReader(file).read(root);
}

}  // namespace sallyport::gateway
