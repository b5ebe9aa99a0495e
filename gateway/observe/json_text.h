// JSON values as text, for logs and answers.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "gateway/observe/text_value.h"

namespace sallyport::gateway {

/// On one line, or with `indent` spaces a level. Names come from files and peers: what is not UTF-8
/// is shown replaced, never refused, and controls are escaped.
[[nodiscard]] inline std::string json_text(const nlohmann::ordered_json& json, int indent = -1) {
  return escape_controls(
      json.dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

}  // namespace sallyport::gateway
