// The read-only admin HTTP server: metrics, health, and the state of the gateway.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gateway/connection/connection_slice.h"
#include "gateway/connection/peer_slice.h"
#include "gateway/observe/admin_listener.h"
#include "gateway/observe/peers_json.h"

namespace sallyport::gateway {

struct Readiness {
  bool ready = false;
  std::string reason;  ///< why not, or what is wrong all the same; shown in the body
};

/// Called on the server's thread; none may wait. One that throws makes a 500.
struct AdminHandlers {
  std::function<std::string()> metrics;  ///< Prometheus text
  std::function<Readiness()> readiness;
  /// False while the gateway starts: every path then answers 503, so that what waits for an answer,
  /// of /healthz for example, finds the listeners there. Empty: always true.
  std::function<bool()> started = {};
  std::function<std::uint64_t()> connection_count;
  /// Gives the connections from the cursor on, at most so many, to the third argument: once, from
  /// any thread, also during the call or after the server has gone.
  std::function<void(ConnectionCursor, std::size_t most, TakeSlice)> connections;
  std::function<InForce()> in_force;
  /// The same for peers.
  std::function<void(PeerCursor, std::size_t most, WhichPeers, TakePeers)> peers;
  std::function<std::string()> refusals_json;
  std::function<std::string()> discovery_json;
  std::function<std::string()> routes_json;
  std::function<std::string()> credentials_json;
};

struct AdminOptions {
  /// Off: on an address that is not loopback only /metrics, /healthz and /readyz are served.
  bool expose_all = false;
  /// Bounds each of: a request's arrival, the shards' part of its answer, the answer's departure.
  std::chrono::milliseconds request_timeout{5'000};
  /// Beyond it, one is closed for a new one: that was answered first and has not closed; else the
  /// oldest of those whose request or of those whose answer is awaited, whichever are more.
  std::size_t max_clients = 256;
};

/// Serves all clients from one thread of its own, which waits for none of them and has all signals
/// masked. A connection is one request.
class AdminServer {
 public:
  /// Serves what `listeners` accept. The error says what the kernel refused.
  [[nodiscard]] static std::expected<std::unique_ptr<AdminServer>, std::string> start(
      std::vector<AdminListener> listeners, AdminOptions options, AdminHandlers handlers);

  /// See AdminListener::take_place(), of all of them. Not while another thread calls it.
  [[nodiscard]] std::expected<void, std::string> take_places();
  /// Any thread. Stops listening on ports: for listeners that are shared, when another process has
  /// them, whose answers count from now on. Who has connected is still answered.
  void leave_ports();

  /// Stops listening, closes all connections and joins the thread.
  ~AdminServer();
  AdminServer(const AdminServer&) = delete;
  AdminServer& operator=(const AdminServer&) = delete;

 private:
  struct State;
  explicit AdminServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace sallyport::gateway
