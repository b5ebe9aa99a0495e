#pragma once

#include <expected>
#include <string_view>

#include "gateway/policy/config_error.h"
#include "gateway/policy/json_document.h"

namespace sallyport::gateway {

/// Reads a whole file of YAML 1.1 (libyaml) into the tree of a JSON document, so that one reader
/// judges both. A scalar is a string, whatever it looks like: `10`, `no` and `1e3` are texts; but
/// null, written `~`, `null` or as nothing, is null.
///
/// Refuses, with the line: what is not YAML, bytes that are not UTF-8, a second document, a key
/// that is given twice or is no text, what exceeds the limits; and what would make the text mean
/// more than it says: anchors, aliases, merge keys and tags.
std::expected<JsonValue, ConfigError> parse_yaml(std::string_view text, std::string_view file,
                                                 const JsonLimits& limits = {});

}  // namespace sallyport::gateway
