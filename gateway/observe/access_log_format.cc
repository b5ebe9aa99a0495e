// One record as one line. A file of its own because of what nlohmann costs to compile.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "gateway/observe/access_log.h"
#include "gateway/observe/json_text.h"
#include "gateway/observe/presented_json.h"
#include "gateway/observe/text_value.h"
#include "gateway/observe/timestamp.h"

namespace sallyport::gateway {
namespace {

using Json = nlohmann::ordered_json;

/// A line as it grows: `{"key":value,...}` or `key=value ...`. No JSON object is built for it: that
/// costs three times as much, of each connection.
class Line {
 public:
  explicit Line(LogFormat format) : json_(format == LogFormat::kJson) {
    line_.reserve(kUsualSize);
    if (json_) line_ += '{';
  }

  void text(std::string_view key, std::string_view value) {
    begin(key);
    line_ += json_ ? json_string(value) : text_value(value);
  }
  void number(std::string_view key, std::uint64_t value) { word(key, std::to_string(value)); }
  void boolean(std::string_view key, bool value) { word(key, value ? "true" : "false"); }
  void nothing(std::string_view key) { word(key, json_ ? "null" : "-"); }
  /// Three decimals: what is below a microsecond is noise.
  void milliseconds(std::string_view key, std::chrono::nanoseconds value) {
    const auto microseconds =
        std::max<std::int64_t>(std::chrono::round<std::chrono::microseconds>(value).count(), 0);
    const std::string fraction = std::to_string(1000 + microseconds % 1000);
    word(key, std::to_string(microseconds / 1000) + '.' + fraction.substr(1));
  }
  /// An array or object.
  void structured(std::string_view key, const Json& value) {
    word(key, json_ ? json_text(value) : json_string(json_text(value)));
  }

  [[nodiscard]] std::string finish() {
    if (json_) line_ += '}';
    return std::move(line_);
  }

 private:
  static constexpr std::size_t kUsualSize = 1024;

  void begin(std::string_view key) {
    if (!std::exchange(empty_, false)) line_ += json_ ? ',' : ' ';
    if (json_) line_ += '"';
    line_ += key;
    line_ += json_ ? "\":" : "=";
  }
  void word(std::string_view key, std::string_view value) {
    begin(key);
    line_ += value;
  }

  std::string line_;
  bool json_;
  bool empty_ = true;
};

// What connects comes to the service, or from one.
std::string_view direction_of(const ConnectionFacts& record) {
  return record.egress ? "egress" : "ingress";
}

}  // namespace

// The keys of docs/operate.md, in its order. A refusal shows what is known; a served connection
// shows every key, so that its lines always have the same shape.
std::string format_line(const ConnectionFacts& record, LogFormat format) {
  Line line(format);
  const bool all = !record.refused;
  const auto text = [&](const char* key, const std::string& value, bool always) {
    if (always || !value.empty()) line.text(key, value);
  };
  const auto duration = [&](const char* key, const auto& value) {
    if (value) {
      line.milliseconds(key, *value);
    } else if (all) {
      line.nothing(key);
    }
  };
  const auto boolean = [&](const char* key, const std::optional<bool>& value) {
    if (value) {
      line.boolean(key, *value);
    } else if (all) {
      line.nothing(key);
    }
  };
  line.text("time", rfc3339(record.time));
  text("id", record.id, true);
  text("listener", record.listener, true);
  line.text("direction", direction_of(record));
  text("client", record.client, true);
  text("local_user", record.local_user, false);
  text("proxy", record.proxy, false);
  text("identity", record.identity, all);
  text("sni", record.sni, all);
  text("alpn", record.alpn, all);
  text("route", record.route, all);
  text("backend", record.backend, all);
  text("backend_address", record.backend_address, all);
  text("local_address", record.local_address, all);
  text("backend_identity", record.backend_identity, all);
  boolean("backend_resumed", record.backend_resumed);
  text("tls", record.tls, all);
  text("cipher", record.cipher, all);
  text("group", record.group, all);
  boolean("resumed", record.resumed);
  text("records", record.records, all);
  line.number("received_bytes", record.received_bytes);
  line.number("sent_bytes", record.sent_bytes);
  duration("handshake_ms", record.handshake);
  duration("connect_ms", record.connect);
  line.milliseconds("duration_ms", record.duration);
  line.text("reason", to_string(record.reason));
  if (!record.kept.empty()) line.text("kept", record.kept);
  if (record.refused) {
    text("issuer", record.issuer, false);
    text("serial", record.serial, false);
    if (record.not_after) line.text("not_after", rfc3339(*record.not_after));
    text("detail", record.detail, false);
    if (!record.alpn_offered.empty()) line.structured("alpn_offered", record.alpn_offered);
    if (record.presented) line.structured("presented", presented_json(*record.presented));
  }
  return line.finish();
}

}  // namespace sallyport::gateway
