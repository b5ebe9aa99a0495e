#include "bench/load/report.h"

#include <cstdio>

namespace sallyport::bench {
namespace {

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out + '"';
}

}  // namespace

void JsonObject::add_json(std::string_view key, std::string_view json) {
  if (!members_.empty()) members_ += ", ";
  members_ += quoted(key);
  members_ += ": ";
  members_ += json;
}

void JsonObject::add(std::string_view key, std::string_view text) {
  add_json(key, quoted(text));
}

void JsonObject::add(std::string_view key, double number) {
  char text[40];
  std::snprintf(text, sizeof text, "%.6g", number);
  add_json(key, text);
}

void JsonObject::add(std::string_view key, uint64_t number) {
  add_json(key, std::to_string(number));
}

void JsonObject::add(std::string_view key, const JsonObject& object) {
  add_json(key, object.text());
}

void JsonObject::add(std::string_view key, const std::map<std::string, uint64_t>& counts) {
  JsonObject object;
  for (const auto& [name, count] : counts) object.add(name, count);
  add(key, object);
}

void JsonObject::add(std::string_view key, const Histogram& latencies) {
  JsonObject object;
  object.add("count", latencies.count());
  object.add("mean", microseconds(latencies.mean()));
  object.add("p50", microseconds(latencies.at(0.5)));
  object.add("p90", microseconds(latencies.at(0.9)));
  object.add("p99", microseconds(latencies.at(0.99)));
  object.add("p999", microseconds(latencies.at(0.999)));
  object.add("max", microseconds(latencies.max()));
  add(key, object);
}

}  // namespace sallyport::bench
