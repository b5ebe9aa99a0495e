// One record as one line. A file of its own because of what nlohmann costs to compile.
#include <cmath>
#include <nlohmann/json.hpp>

#include "gateway/observe/access_log.h"
#include "gateway/observe/json_text.h"
#include "gateway/observe/presented_json.h"
#include "gateway/observe/text_value.h"
#include "gateway/observe/timestamp.h"

namespace sallyport::gateway {
namespace {

using Json = nlohmann::ordered_json;

// Milliseconds with three decimals: what is below a microsecond is noise.
double milliseconds(std::chrono::nanoseconds duration) {
  return std::round(static_cast<double>(duration.count()) / 1e3) / 1e3;
}

// The keys of docs/operate.md, in its order. A refusal shows what is known; a served connection
// shows every key, so that its lines always have the same shape.
Json to_json(const ConnectionFacts& record) {
  Json line;
  const bool all = !record.refused;
  const auto text = [&](const char* key, const std::string& value, bool always) {
    if (always || !value.empty()) line[key] = value;
  };
  const auto duration = [&](const char* key, const auto& value) {
    if (value) {
      line[key] = milliseconds(*value);
    } else if (all) {
      line[key] = nullptr;
    }
  };
  line["time"] = rfc3339(record.time);
  text("id", record.id, true);
  text("listener", record.listener, true);
  text("client", record.client, true);
  text("identity", record.identity, all);
  text("sni", record.sni, all);
  text("alpn", record.alpn, all);
  text("route", record.route, all);
  text("backend", record.backend, all);
  text("backend_address", record.backend_address, all);
  text("local_address", record.local_address, all);
  text("tls", record.tls, all);
  text("cipher", record.cipher, all);
  text("group", record.group, all);
  if (record.resumed) {
    line["resumed"] = *record.resumed;
  } else if (all) {
    line["resumed"] = nullptr;
  }
  text("records", record.records, all);
  line["received_bytes"] = record.received_bytes;
  line["sent_bytes"] = record.sent_bytes;
  duration("handshake_ms", record.handshake);
  duration("connect_ms", record.connect);
  line["duration_ms"] = milliseconds(record.duration);
  line["reason"] = to_string(record.reason);
  if (!record.kept.empty()) line["kept"] = record.kept;
  if (record.refused) {
    text("issuer", record.issuer, false);
    text("serial", record.serial, false);
    if (record.not_after) line["not_after"] = rfc3339(*record.not_after);
    text("detail", record.detail, false);
    if (!record.alpn_offered.empty()) line["alpn_offered"] = record.alpn_offered;
    if (record.presented) line["presented"] = presented_json(*record.presented);
  }
  return line;
}

std::string text(const Json& value) {
  if (value.is_string()) return text_value(value.get_ref<const std::string&>());
  if (value.is_structured()) return json_string(json_text(value));
  return value.is_null() ? "-" : json_text(value);
}

}  // namespace

std::string format_line(const ConnectionFacts& record, LogFormat format) {
  const Json line = to_json(record);
  if (format == LogFormat::kJson) return json_text(line);
  std::string result;
  for (const auto& [key, value] : line.items()) {
    if (!result.empty()) result += ' ';
    result += key;
    result += '=';
    result += text(value);
  }
  return result;
}

}  // namespace sallyport::gateway
