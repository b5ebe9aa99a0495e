#include "gateway/observe/text_value.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace sallyport::gateway {

std::string text_value(std::string_view value) {
  const bool plain = !value.empty() && std::ranges::all_of(value, [](char c) {
    return c > ' ' && c < '\x7F' && c != '"' && c != '=' && c != '\\';
  });
  return plain ? std::string(value) : json_string(value);
}

std::string json_string(std::string_view value) {
  return nlohmann::json(value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace sallyport::gateway
