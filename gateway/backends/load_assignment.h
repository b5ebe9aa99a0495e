#pragma once

#include <expected>
#include <string_view>

#include "gateway/backends/discovery.h"
#include "gateway/policy/config_error.h"
#include "gateway/policy/json_document.h"

namespace sallyport::gateway {

/// Whether a document has the form that read_load_assignments() reads, right or wrong in detail.
[[nodiscard]] bool has_load_assignments(const JsonValue& root);

/// Reads Envoy's ClusterLoadAssignment (envoy.config.endpoint.v3) in the JSON of protocol buffers:
/// one, a list of them, or a DiscoveryResponse. A cluster is a route. Field names are those of the
/// message or in lowerCamelCase; a null is a field that is not there.
///
/// What would mean something that is not done here (priorities, drop overloads, endpoints by name)
/// refuses the route, and so does an unknown field. The error of the function refuses the file: an
/// assignment has no cluster name, or a resource is another one.
std::expected<Discovery, ConfigError> read_load_assignments(const JsonValue& root,
                                                            std::string_view file);

}  // namespace sallyport::gateway
