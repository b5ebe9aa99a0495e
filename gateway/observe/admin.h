// The read-only admin HTTP server: metrics, health, and the state of the gateway.
//
// Two worker threads of its own, with all signals masked. GET and HEAD only, exact paths, no files.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace sallyport::gateway {

struct Readiness {
  bool ready = false;
  std::string reason;  ///< why not, or what is wrong all the same; shown in the body
};

/// Called on the server's threads, two at a time: must be thread-safe. One that throws makes a 500.
struct AdminHandlers {
  std::function<std::string()> metrics;  ///< Prometheus text
  std::function<Readiness()> readiness;
  /// False while the gateway starts: every path then answers 503, so that what waits for an answer,
  /// of /healthz for example, finds the listeners there. Empty: always true.
  std::function<bool()> started = {};
  /// JSON texts. `limit` is how many connections at most.
  std::function<std::string(unsigned limit)> connections_json;
  std::function<std::string()> routes_json;
  std::function<std::string()> credentials_json;
};

struct AdminOptions {
  std::string address;    ///< "127.0.0.1:9464", "[::1]:9464"; port 0 is any free one
  std::string host;       ///< of `address`, without brackets
  bool v6 = false;        ///< `address` is IPv6
  bool loopback = false;  ///< `address` is loopback
  /// Off: on an address that is not loopback only /metrics, /healthz and /readyz are served.
  bool expose_all = false;
  std::chrono::milliseconds request_timeout{5'000};
};

class AdminServer {
 public:
  static constexpr unsigned kDefaultLimit = 100;
  static constexpr unsigned kMaxLimit = 10'000;

  /// Why an address of this family can never be served. Nothing where it can.
  [[nodiscard]] static std::optional<std::string> unserved(bool v6);

  /// Listens at once. The error names the address and the reason; one is that civetweb was built
  /// without IPv6, as Debian 12's is.
  [[nodiscard]] static std::expected<std::unique_ptr<AdminServer>, std::string> start(
      AdminOptions options, AdminHandlers handlers);

  /// Stops listening and joins the threads; requests under way are answered first.
  ~AdminServer();
  AdminServer(const AdminServer&) = delete;
  AdminServer& operator=(const AdminServer&) = delete;

  /// The port listened on: the one asked for, or the one got for port 0.
  [[nodiscard]] std::uint16_t port() const;

 private:
  struct State;
  explicit AdminServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace sallyport::gateway
