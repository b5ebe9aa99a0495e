#pragma once

#include <expected>
#include <string_view>

#include "gateway/backends/discovery.h"
#include "gateway/policy/config_error.h"
#include "gateway/policy/json_document.h"

namespace sallyport::gateway {

/// Reads Prometheus' file_sd with reserved labels: see parse_discovery().
std::expected<Discovery, ConfigError> read_file_sd(const JsonValue& root, std::string_view file);

}  // namespace sallyport::gateway
