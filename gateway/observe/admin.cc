#include "gateway/observe/admin.h"

#include <arpa/inet.h>
#include <civetweb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <exception>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>

#include "gateway/observe/log.h"
#include "gateway/policy/number.h"
#include "iouring/signals_masked.h"

namespace sallyport::gateway {
namespace {

constexpr unsigned kFeatureIpv6 = 8;  // mg_check_feature(); Debian 12 builds without it
constexpr std::string_view kText = "text/plain; charset=utf-8";
constexpr std::string_view kPrometheus = "text/plain; version=0.0.4; charset=utf-8";
constexpr std::string_view kJson = "application/json";

struct Response {
  int status = 200;
  std::string_view type = kText;
  std::string body;
};

std::string_view reason_phrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 503:
      return "Service Unavailable";
    default:
      return "Internal Server Error";
  }
}

// `limit=N` of the query, the default without it, nothing if it is no number from 1 to the most.
std::optional<unsigned> limit_of(const char* query) {
  if (query == nullptr) return AdminServer::kDefaultLimit;
  std::array<char, 32> value{};
  const int length = mg_get_var(query, std::strlen(query), "limit", value.data(), value.size());
  if (length == -1) return AdminServer::kDefaultLimit;  // not in there
  if (length < 0) return std::nullopt;                  // too long
  const auto limit = parse_number<unsigned>({value.data(), static_cast<std::size_t>(length)});
  if (!limit || *limit < 1 || *limit > AdminServer::kMaxLimit) return std::nullopt;
  return limit;
}

void send(mg_connection* connection, const Response& response, bool with_body) {
  std::string text = "HTTP/1.1 " + std::to_string(response.status) + " ";
  text += reason_phrase(response.status);
  text += "\r\nContent-Type: ";
  text += response.type;
  text += "\r\nContent-Length: " + std::to_string(response.body.size());
  if (response.status == 405) text += "\r\nAllow: GET, HEAD";
  text +=
      "\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff"
      "\r\nConnection: close\r\n\r\n";
  if (with_body) text += response.body;
  mg_write(connection, text.data(), text.size());  // a reader that went away is its own loss
}

// Connects until mg_stop() has returned: civetweb's accepting thread looks whether to stop every
// two seconds, or when a client connects.
void stop_at_once(mg_context* context, const std::string& host, std::uint16_t port) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  ::inet_pton(AF_INET, host.c_str(), &to.sin_addr);
  if (to.sin_addr.s_addr == htonl(INADDR_ANY)) to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

  std::atomic<bool> stopped = false;
  const iouring::SignalsMasked masked;
  std::thread waker([&] {
    while (!stopped) {
      const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
      // Whether it succeeds makes no difference: the next one comes in 5 ms.
      [[maybe_unused]] const int connected =
          ::connect(client, reinterpret_cast<const sockaddr*>(&to), sizeof to);
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      ::close(client);
    }
  });
  mg_stop(context);
  stopped = true;
  waker.join();
}

}  // namespace

struct AdminServer::State {
  AdminOptions options;
  AdminHandlers handlers;
  bool private_paths = false;  // whether more than metrics and health is served
  std::string start_error;
  std::atomic<bool> started = false;
  mg_context* context = nullptr;
  std::uint16_t port = 0;

  [[nodiscard]] Response answer(std::string_view path, const char* query) const;
  [[nodiscard]] Response answer_or_500(std::string_view path, const char* query) const;

  static int on_request(mg_connection* connection);
  static int on_message(const mg_connection* connection, const char* message);
};

Response AdminServer::State::answer(std::string_view path, const char* query) const {
  if (handlers.started && !handlers.started()) return {503, kText, "starting\n"};
  if (path == "/metrics") return {200, kPrometheus, handlers.metrics()};
  if (path == "/healthz") return {200, kText, "alive\n"};
  if (path == "/readyz") {
    const Readiness now = handlers.readiness();
    const std::string reason = now.reason.empty() ? "" : now.reason + "\n";
    return now.ready ? Response{200, kText, "ready\n" + reason} : Response{503, kText, reason};
  }
  if (private_paths) {
    if (path == "/connections") {
      const auto limit = limit_of(query);
      if (limit) return {200, kJson, handlers.connections_json(*limit)};
      return {400, kText, "limit is not a number from 1 to " + std::to_string(kMaxLimit) + "\n"};
    }
    if (path == "/routes") return {200, kJson, handlers.routes_json()};
    if (path == "/credentials") return {200, kJson, handlers.credentials_json()};
  }
  return {404, kText, "not found\n"};
}

Response AdminServer::State::answer_or_500(std::string_view path, const char* query) const {
  try {
    return answer(path, query);
  } catch (const std::exception& error) {
    log_error("admin request failed", {{"path", path}, {"error", error.what()}});
    return {500, kText, "internal error\n"};
  }
}

int AdminServer::State::on_request(mg_connection* connection) {
  const mg_request_info* request = mg_get_request_info(connection);
  const auto* self = static_cast<const State*>(request->user_data);
  const std::string_view method = request->request_method;
  const bool head = method == "HEAD";
  if (method != "GET" && !head) {
    send(connection, {405, kText, "read-only: GET and HEAD\n"}, true);
    return 405;
  }
  // The path as it was sent, not civetweb's cleaned one: paths are exact.
  const std::string_view path = request->local_uri_raw == nullptr ? "" : request->local_uri_raw;
  const Response response = self->answer_or_500(path, request->query_string);
  send(connection, response, !head);
  return response.status;
}

int AdminServer::State::on_message(const mg_connection* connection, const char* message) {
  const mg_context* context = mg_get_context(connection);
  auto* self = static_cast<State*>(mg_get_user_data(context));
  if (self == nullptr) return 1;
  if (!self->started) {
    if (self->start_error.empty()) self->start_error = message;
  } else {
    log_debug("admin", {{"detail", message}});
  }
  return 1;
}

AdminServer::AdminServer(std::unique_ptr<State> state) : state_(std::move(state)) {}

AdminServer::~AdminServer() {
  stop_at_once(state_->context, state_->options.host, state_->port);
  mg_exit_library();
}

std::uint16_t AdminServer::port() const {
  return state_->port;
}

std::optional<std::string> AdminServer::unserved(bool v6) {
  if (!v6 || mg_check_feature(kFeatureIpv6) != 0) return std::nullopt;
  return "the HTTP library (civetweb) of this build has no IPv6";
}

std::expected<std::unique_ptr<AdminServer>, std::string> AdminServer::start(
    AdminOptions options, AdminHandlers handlers) {
  const std::string address = options.address;
  if (auto why = unserved(options.v6)) {
    return std::unexpected("admin: cannot listen on " + address + ": " + *why);
  }
  auto state = std::make_unique<State>();
  state->options = std::move(options);
  state->handlers = std::move(handlers);
  state->private_paths = state->options.loopback || state->options.expose_all;

  mg_callbacks callbacks{};
  callbacks.begin_request = State::on_request;
  callbacks.log_message = State::on_message;
  const std::string timeout = std::to_string(state->options.request_timeout.count());
  const std::array<const char*, 9> settings{"listening_ports",
                                            state->options.address.c_str(),
                                            "num_threads",
                                            "2",
                                            "request_timeout_ms",
                                            timeout.c_str(),
                                            "enable_keep_alive",
                                            "no",
                                            nullptr};
  mg_init_library(0);
  {
    const iouring::SignalsMasked masked;
    state->context = mg_start(&callbacks, state.get(), const_cast<const char**>(settings.data()));
  }
  if (state->context == nullptr) {
    mg_exit_library();
    const std::string& why = state->start_error;
    return std::unexpected("admin: cannot listen on " + address + ": " +
                           (why.empty() ? "unknown reason" : why));
  }
  state->started = true;
  mg_server_port port{};
  if (mg_get_server_ports(state->context, 1, &port) < 1) {
    mg_stop(state->context);
    mg_exit_library();
    return std::unexpected("admin: listens on nothing for " + address);
  }
  state->port = static_cast<std::uint16_t>(port.port);
  return std::unique_ptr<AdminServer>(new AdminServer(std::move(state)));
}

}  // namespace sallyport::gateway
