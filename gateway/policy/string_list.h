// Lists that more than one key of a route has.
#pragma once

#include <string>
#include <vector>

#include "gateway/policy/json_document.h"
#include "gateway/policy/json_reader.h"
#include "gateway/policy/pattern.h"

namespace sallyport::gateway {

/// Identity patterns, at least one. One that another covers is refused: its removal would lock
/// nobody out, although the file reads as if it would.
JsonReader::Outcome read_patterns(const JsonReader& reader, std::vector<IdentityPattern>& target,
                                  const JsonValue& value, const std::string& key);

/// Names of application protocols, at least one, none twice, that fit in a ClientHello.
JsonReader::Outcome read_protocols(const JsonReader& reader, std::vector<std::string>& target,
                                   const JsonValue& value, const std::string& key);

}  // namespace sallyport::gateway
