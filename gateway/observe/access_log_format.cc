// One record as one line. A file of its own because of what nlohmann costs to compile.
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "gateway/observe/access_log.h"
#include "gateway/observe/json_text.h"
#include "gateway/observe/log_line.h"
#include "gateway/observe/logged_connections.h"
#include "gateway/observe/presented_json.h"
#include "gateway/observe/priority.h"
#include "gateway/observe/timestamp.h"

namespace sallyport::gateway {
namespace {

// What connects comes to the service, or from one.
std::string_view direction_of(const ConnectionFacts& record) {
  return record.egress ? "egress" : "ingress";
}

Priority priority_of(const ConnectionFacts& record) {
  if (record.reason == CloseReason::kClosedBeforeHello) return Priority::kDebug;
  return ended_well(record) ? Priority::kInfo : Priority::kNotice;
}

}  // namespace

// The keys of docs/operate.md, in its order. A refusal shows what is known; a served connection
// shows every key, so that its lines always have the same shape.
std::string format_line(const ConnectionFacts& record, LogFormat format, bool priorities) {
  LogLine line(format, priorities ? prefix(priority_of(record)) : "");
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
    if (!record.alpn_offered.empty())
      line.structured("alpn_offered", json_text(record.alpn_offered));
    if (record.presented)
      line.structured("presented", json_text(presented_json(*record.presented)));
  }
  return line.finish();
}

}  // namespace sallyport::gateway
