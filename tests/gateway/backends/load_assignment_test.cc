#include "gateway/backends/load_assignment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/gateway/backends/discovery_text.h"

namespace sallyport::gateway {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string file_refusal(std::string_view text) {
  const auto parsed = parse_discovery(text, "d.json");
  return parsed ? "no error" : parsed.error().to_string();
}

// Why the one route is refused.
std::string route_refusal(std::string_view text) {
  const auto parsed = parse_discovery(text, "d.json");
  if (!parsed) return "the file is refused: " + parsed.error().to_string();
  if (parsed->routes.size() != 1) return "not one route";
  const auto& refused = parsed->routes[0].refused;
  if (refused && !parsed->routes[0].targets.empty()) return "it has targets all the same";
  return refused ? refused->to_string() : "no error";
}

std::vector<std::string> warnings_of(std::string_view text) {
  std::vector<std::string> all;
  for (const ConfigError& each : parsed(text).warnings) all.push_back(each.to_string());
  return all;
}

// An assignment with these fields beside its name.
std::string with_fields(const std::string& fields) {
  return R"({"cluster_name": "r", )" + fields + "}";
}
// One of a locality with these fields.
std::string with_locality(const std::string& fields) {
  return with_fields(R"("endpoints": [{)" + fields + "}]");
}
// One of an endpoint with these fields.
std::string with_lb_endpoint(const std::string& fields) {
  return with_locality(R"("lb_endpoints": [{)" + fields + "}]");
}
// One at this address, with these fields.
std::string at_address(const std::string& address, const std::string& fields = "") {
  return with_lb_endpoint(fields + R"("endpoint": {"address": )" + address + "}");
}
std::string at_socket(const std::string& fields) {
  return at_address(R"({"socket_address": {)" + fields + "}}");
}
std::string with_endpoint(const std::string& fields) {
  return at_address(R"({"socket_address": {"address": "10.0.0.7", "port_value": 80}})", fields);
}

TEST(LoadAssignment, IsReadAsTheManualHasIt) {
  const Discovery discovery = parsed(R"({
    "cluster_name": "orders",
    "endpoints": [
      {"locality": {"region": "eu", "zone": "eu-1a"},
       "lb_endpoints": [
         {"endpoint": {"address": {"socket_address": {"address": "10.0.0.7", "port_value": 8080}}},
          "health_status": "HEALTHY", "load_balancing_weight": 3},
         {"endpoint": {"address": {"socket_address": {"address": "::1", "port_value": 9000}}},
          "health_status": "DRAINING"}]},
      {"lb_endpoints": [
         {"endpoint": {"address": {"pipe": {"path": "/run/x.sock"}}}}]}]})");
  ASSERT_EQ(discovery.routes.size(), 1u);
  EXPECT_EQ(discovery.routes[0].name, "orders");
  EXPECT_THAT(discovery.warnings, IsEmpty());
  const auto& targets = discovery.routes[0].targets;
  ASSERT_EQ(targets.size(), 3u);
  EXPECT_EQ(targets[0].text, "10.0.0.7:8080");
  EXPECT_EQ(*targets[0].labels, (GroupLabels{.weight = 3, .zone = "eu-1a", .tls_name = ""}));
  EXPECT_EQ(targets[1].text, "[::1]:9000");
  EXPECT_EQ(targets[1].labels->state, EndpointState::kDraining);
  EXPECT_EQ(targets[1].labels->weight, 1u) << "Envoy's default";
  EXPECT_EQ(targets[2].text, "unix:/run/x.sock");
  EXPECT_EQ(targets[2].labels->zone, "");
}

TEST(LoadAssignment, MayBeInLowerCamelCaseAndHaveNumbersAsText) {
  const Discovery discovery = parsed(R"({"clusterName": "r", "endpoints": [{"lbEndpoints": [
      {"healthStatus": 2, "loadBalancingWeight": "5", "endpoint": {"address": {"socketAddress":
        {"protocol": 0, "address": "a.test", "portValue": "80"}}}}]}]})");
  ASSERT_EQ(discovery.routes[0].targets.size(), 1u);
  EXPECT_EQ(discovery.routes[0].targets[0].text, "a.test:80");
  EXPECT_EQ(discovery.routes[0].targets[0].labels->weight, 5u);
  EXPECT_EQ(discovery.routes[0].targets[0].labels->state, EndpointState::kDown);
}

TEST(LoadAssignment, MayBeInAListOrInADiscoveryResponse) {
  const std::string type =
      R"("@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment")";
  const std::string two =
      "[{" + type + R"(, "cluster_name": "a"}, {"cluster_name": "b", "endpoints": null}])";
  EXPECT_THAT(parsed(two).route_labels(), ElementsAre("a", "b"));
  EXPECT_THAT(
      parsed(R"({"version_info": "1", "nonce": "x", "resources": )" + two + "}").route_labels(),
      ElementsAre("a", "b"));
  EXPECT_THAT(parsed(R"([{"resources": )" + two + R"(}, {"cluster_name": "c"}])").route_labels(),
              ElementsAre("a", "b", "c"));
}

TEST(LoadAssignment, MayBeYaml) {
  const auto discovery = parse_discovery(R"(
resources:
- "@type": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment
  cluster_name: orders
  endpoints:
  - lb_endpoints:
    - endpoint: {address: {socket_address: {address: 10.0.0.7, port_value: 80}}}
      load_balancing_weight: 7
)",
                                         "eds.yaml");
  ASSERT_TRUE(discovery) << discovery.error().to_string();
  EXPECT_EQ(discovery->routes[0].targets[0].text, "10.0.0.7:80");
  EXPECT_EQ(discovery->routes[0].targets[0].labels->weight, 7u);
}

TEST(LoadAssignment, GivesEachHealthStatusItsState) {
  const auto state = [](const std::string& status) {
    const Discovery discovery = parsed(with_endpoint(R"("health_status": )" + status + ", "));
    return std::string(to_string(discovery.routes.at(0).targets.at(0).labels->state));
  };
  EXPECT_EQ(state(R"("UNKNOWN")"), "ready");
  EXPECT_EQ(state(R"("HEALTHY")"), "ready");
  EXPECT_EQ(state(R"("DEGRADED")"), "ready");
  EXPECT_EQ(state(R"("DRAINING")"), "draining");
  EXPECT_EQ(state(R"("UNHEALTHY")"), "down");
  EXPECT_EQ(state(R"("TIMEOUT")"), "down");
  EXPECT_EQ(state("null"), "ready");
  EXPECT_THAT(route_refusal(with_endpoint("\"health_status\": \"SICK\", ")),
              HasSubstr("health_status: must be one of UNKNOWN, HEALTHY"));
  EXPECT_THAT(route_refusal(with_endpoint("\"health_status\": 6, ")), HasSubstr("must be one of"));
  EXPECT_THAT(route_refusal(with_endpoint("\"health_status\": true, ")),
              HasSubstr("must be one of"));
}

TEST(LoadAssignment, WarnsOfWhatCountsForLessThanInEnvoy) {
  EXPECT_THAT(
      warnings_of(with_endpoint("\"health_status\": \"DEGRADED\", ")),
      ElementsAre("d.json:1: endpoints[0].lb_endpoints[0].health_status: DEGRADED counts as "
                  "HEALTHY"));
  EXPECT_THAT(warnings_of(with_locality(R"("load_balancing_weight": 5)")),
              ElementsAre(HasSubstr("endpoints[0].load_balancing_weight: is ignored")));
  EXPECT_THAT(warnings_of(with_lb_endpoint(R"("endpoint": {"additional_addresses": [{}], "address":
                  {"pipe": {"path": "/x"}}})")),
              ElementsAre(HasSubstr("additional_addresses: is ignored")));
}

// Endpoints that wait for others to fail would get their share at once.
TEST(LoadAssignment, RefusesWhatMeansSomethingThatIsNotDoneHere) {
  EXPECT_EQ(route_refusal(with_locality(R"("priority": 0)")), "no error");
  EXPECT_EQ(
      route_refusal(with_locality(R"("priority": 1)")),
      "d.json:1: endpoints[0].priority: must be 0: other priorities are not supported by this "
      "version");
  for (const char* fields :
       {R"("named_endpoints": {"a": {}})", R"("policy": {"drop_overloads": [{}]})",
        R"("policy": {"endpoint_stale_after": "5s"})",
        R"("endpoints": [{"load_balancer_endpoints": {"x": 1}}])",
        R"("endpoints": [{"leds_cluster_locality_config": {"x": 1}}])",
        R"("endpoints": [{"lb_endpoints": [{"endpoint_name": "a"}]}])"}) {
    EXPECT_THAT(route_refusal(with_fields(fields)), HasSubstr("is not supported by this version"))
        << fields;
  }
  EXPECT_THAT(route_refusal(at_address(R"({"envoy_internal_address": {"x": 1}})")),
              HasSubstr("is not supported by this version"));
  for (const char* field : {R"("named_port": "http")", R"("resolver_name": "x")",
                            R"("network_namespace_filepath": "/n")"}) {
    EXPECT_THAT(
        route_refusal(at_socket(std::string(R"("address": "a", "port_value": 1, )") + field)),
        HasSubstr("is not supported by this version"))
        << field;
  }
  EXPECT_THAT(route_refusal(at_socket(R"("address": "a", "port_value": 1, "protocol": "UDP")")),
              HasSubstr("protocol: must be TCP"));
}

TEST(LoadAssignment, TakesFieldsThatHaveTheirDefaultForAbsent) {
  EXPECT_EQ(route_refusal(with_fields(R"("named_endpoints": {}, "policy": {"drop_overloads": [],
      "endpoint_stale_after": null, "overprovisioning_factor": 140}, "endpoints": [
      {"leds_cluster_locality_config": null, "priority": "0", "proximity": null, "lb_endpoints": [
      {"endpoint_name": "", "metadata": {"filter_metadata": {}}, "endpoint": {"hostname": "h",
       "health_check_config": {"port_value": 1}, "address": {"envoy_internal_address": null,
       "socket_address": {"named_port": "", "ipv4_compat": false, "address": "a",
       "port_value": 80}}}}]}])")),
            "no error");
}

TEST(LoadAssignment, RefusesUnknownFieldsAndBothSpellings) {
  EXPECT_EQ(route_refusal(with_fields("\n\"endpionts\": []")),
            "d.json:2: endpionts: unknown key; did you mean 'endpoints'?");
  EXPECT_THAT(route_refusal(with_endpoint("\"wieght\": 5, ")),
              HasSubstr("endpoints[0].lb_endpoints[0].wieght: unknown key"));
  EXPECT_THAT(route_refusal(R"({"cluster_name": "r", "endpoints": [], "Endpoints": []})"),
              HasSubstr("Endpoints: unknown key"));
  EXPECT_THAT(route_refusal(with_locality(R"("lb_endpoints": [], "lbEndpoints": [])")),
              HasSubstr("lbEndpoints: is there already, in another spelling"));
  EXPECT_EQ(file_refusal(R"({"resources": [], "typo": 1})"), "d.json:1: typo: unknown key");
}

TEST(LoadAssignment, RefusesWhatIsMissingOrOfAnotherForm) {
  EXPECT_THAT(route_refusal(with_lb_endpoint("")), HasSubstr("lb_endpoints[0]: has no endpoint"));
  EXPECT_THAT(route_refusal(with_lb_endpoint(R"("endpoint": {})")), HasSubstr("has no address"));
  EXPECT_THAT(route_refusal(at_address("{}")),
              HasSubstr("must have either socket_address or pipe"));
  EXPECT_THAT(route_refusal(at_address(R"({"pipe": {"path": "/x"}, "socket_address": {}})")),
              HasSubstr("must have either"));
  EXPECT_THAT(route_refusal(at_address("[]")),
              HasSubstr("address: must be an object, not an array"));
  EXPECT_THAT(route_refusal(at_socket(R"("port_value": 80)")), HasSubstr("has no address"));
  EXPECT_THAT(route_refusal(at_socket(R"("address": "a")")), HasSubstr("has no port_value"));
  EXPECT_THAT(route_refusal(at_socket(R"("address": "", "port_value": 1)")),
              HasSubstr("must be a text that is not empty"));
  EXPECT_THAT(route_refusal(at_socket(R"("address": "1.2.3.400", "port_value": 1)")),
              HasSubstr("neither an IP address nor a host name"));
  EXPECT_THAT(route_refusal(at_socket(R"("address": "unix:/x", "port_value": 1)")),
              HasSubstr("the brackets hold no IPv6 address"));
  EXPECT_THAT(route_refusal(at_address(R"({"pipe": {"path": "@abstract"}})")),
              HasSubstr("absolute"));
  for (const char* port : {"0", "65536", "-1", "1.5", "\"x\"", "true"}) {
    EXPECT_THAT(route_refusal(at_socket(std::string(R"("address": "a", "port_value": )") + port)),
                HasSubstr("port_value: must be a number from 1 to 65535"))
        << port;
  }
  for (const char* weight : {"0", "65536", "\"\"", "[]"}) {
    EXPECT_THAT(
        route_refusal(with_endpoint(std::string("\"load_balancing_weight\": ") + weight + ", ")),
        HasSubstr("load_balancing_weight: must be a number from 1 to 65535"))
        << weight;
  }
  EXPECT_THAT(route_refusal(with_fields("\"endpoints\": {}")),
              HasSubstr("endpoints: must be an array, not an object"));
  EXPECT_THAT(route_refusal(with_locality("\"lb_endpoints\": 5")), HasSubstr("must be an array"));
  EXPECT_THAT(route_refusal(with_locality(R"("locality": {"zone": 5})")),
              HasSubstr("zone: must be a string"));
}

TEST(LoadAssignment, RefusesTheFileWhereNoRouteCanBeTold) {
  EXPECT_EQ(file_refusal(R"([{"cluster_name": "r"}, {"endpoints": []}])"),
            "d.json:1: [1]: has no cluster_name, which is the route");
  EXPECT_THAT(file_refusal(R"({"cluster_name": ""})"), HasSubstr("has no cluster_name"));
  EXPECT_THAT(file_refusal(R"({"cluster_name": 5})"), HasSubstr("has no cluster_name"));
  EXPECT_THAT(file_refusal(R"([{"cluster_name": "r"}, "x"])"),
              HasSubstr("[1]: must be a ClusterLoadAssignment, not a string"));
  EXPECT_THAT(file_refusal(R"({"resources": {}})"), HasSubstr("resources: must be an array"));
  EXPECT_THAT(file_refusal(R"({"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
                           "name": "r"})"),
              HasSubstr("@type: must be type.googleapis.com/envoy.config.endpoint.v3"));
  EXPECT_THAT(file_refusal(R"({"type_url": "x", "resources": []})"),
              HasSubstr("type_url: must be"));
  EXPECT_THAT(file_refusal(R"({"cluster_nam": "r"})"), HasSubstr("must be an array of groups"));
}

TEST(LoadAssignment, RefusesAClusterThatIsAssignedTwiceOrHasNoGoodName) {
  EXPECT_THAT(route_refusal(R"([{"cluster_name": "r"}, {"cluster_name": "r"}])"),
              HasSubstr("[1].cluster_name: this cluster is assigned twice"));
  EXPECT_THAT(route_refusal(R"({"cluster_name": "a\u0001"})"), HasSubstr("a route's name has"));
}

TEST(LoadAssignment, JoinsAnEndpointThatIsThereTwice) {
  const Discovery discovery = parsed(with_fields(R"("endpoints": [
      {"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": "/x"}}}},
       {"endpoint": {"address": {"pipe": {"path": "/x"}}}, "health_status": "DRAINING"}]}])"));
  ASSERT_EQ(discovery.routes[0].targets.size(), 1u);
  EXPECT_EQ(discovery.routes[0].targets[0].labels->state, EndpointState::kDraining);
  ASSERT_EQ(discovery.warnings.size(), 1u);
  EXPECT_EQ(discovery.warnings[0].key, "endpoints[0].lb_endpoints[1]");
}

TEST(LoadAssignment, LeavesOtherRoutesAlone) {
  const Discovery discovery = parsed(
      R"([{"cluster_name": "bad", "endpoints": [{"priority": 1}]},
          {"cluster_name": "good", "endpoints": [{"lb_endpoints": [
             {"endpoint": {"address": {"pipe": {"path": "/x"}}}}]}]}])");
  EXPECT_TRUE(discovery.find("bad")->refused);
  EXPECT_FALSE(discovery.find("good")->refused);
  EXPECT_EQ(discovery.find("good")->targets.size(), 1u);
}

}  // namespace
}  // namespace sallyport::gateway
