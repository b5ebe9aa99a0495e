// One connection: what is known of it, and its life from accept to close.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "gateway/connection/close_reason.h"
#include "gateway/connection/shard_state.h"
#include "iouring/address.h"
#include "iouring/cancel.h"
#include "iouring/list.h"
#include "iouring/socket.h"
#include "iouring/task.h"
#include "ktls/handshake/server_handshake.h"
#include "ktls/records/record_layer.h"
#include "metrics/cells.h"

namespace sallyport::gateway {

/// Why a connection was not let in. Only the reason is always known.
struct Refusal {
  CloseReason reason = CloseReason::kUnknownFailure;
  ktls::HandshakeFailure failure;  ///< detail, and the certificate that was refused
};

/// What is known of a connection. In its shard's list of live ones from construction on; counts
/// itself at construction and, with a log line, at destruction. Shard's thread only.
class Connection : public iouring::ListNode {
 public:
  /// `scope` is what the connection's task runs under.
  Connection(ShardState& shard, ServedListener& listener, iouring::CancelScope& scope,
             iouring::PeerAddress client);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Ends it from outside, whatever phase it is in: cancels what it waits for. The first reason
  /// wins.
  void end(CloseReason reason) noexcept;
  /// The reason given to end(), if anyone called it.
  [[nodiscard]] std::optional<CloseReason> ended_by() const noexcept { return ended_by_; }
  [[nodiscard]] iouring::CancelScope& scope() noexcept { return scope_; }

  /// What the ClientHello asked for and got: from now on it is counted under `route`, which is null
  /// if there is none for it. `alpn` is the protocol that was confirmed. Called once.
  void said_hello(std::string_view sni, std::shared_ptr<const Route> route, std::string_view alpn);
  /// The first byte has come: from now on it is a handshake, which must get a verdict.
  void start_handshake();
  [[nodiscard]] bool handshake_started() const noexcept { return handshake_ != nullptr; }
  void recognise(const ktls::Outcome& outcome);
  /// The one verdict of its handshake: success, or the refusal's result word.
  void admit();
  void refuse(Refusal refusal);
  void backend_connected(std::shared_ptr<const Endpoint> endpoint, InUse in_use,
                         std::chrono::nanoseconds took);
  /// Shown by describe() and the log from now on.
  void records_are_made_by(ktls::RecordModel model) noexcept { records_ = model; }
  void closes_with(CloseReason reason) noexcept { reason_ = reason; }

  void received_from(metrics::Leg leg, std::size_t bytes) noexcept;
  void sent_to(metrics::Leg leg, std::size_t bytes) noexcept;

  [[nodiscard]] ShardState& shard() const noexcept { return shard_; }
  [[nodiscard]] const Route& route() const noexcept { return *route_; }
  [[nodiscard]] const ktls::PeerTrust& trust() const noexcept { return *trust_; }
  [[nodiscard]] CloseReason reason() const noexcept { return reason_; }

  /// For /connections: what it is and has done so far.
  struct Description {
    std::string id, client, identity, listener, route, backend, cipher;
    std::string_view records;
    std::chrono::system_clock::time_point since;
    std::uint64_t received_bytes = 0, sent_bytes = 0;
  };
  [[nodiscard]] Description describe() const;

 private:
  /// What is known, or still to be told, only until the verdict.
  struct Handshake {
    metrics::StartedHandshake counted;
    iouring::TimePoint first_byte_at;
    Terms terms;
  };

  void judge(ktls::HandshakeResult result);
  [[nodiscard]] const Terms* terms() const noexcept;
  [[nodiscard]] ConnectionRecord record() const;

  // An idle connection is mostly this: what is shared is a pointer, what is over is gone, and text
  // is made when it is asked for.
  ShardState& shard_;
  ServedListener& listener_;
  iouring::CancelScope& scope_;
  std::uint64_t id_;
  iouring::TimePoint accepted_at_;
  metrics::OpenConnection open_;
  std::unique_ptr<Handshake> handshake_;  // from the first byte to the verdict
  std::chrono::nanoseconds handshake_took_{};
  std::chrono::nanoseconds connect_took_{};
  std::shared_ptr<const Route> route_;  // and with it the policy that it is part of
  std::shared_ptr<const Terms> terms_;  // after the verdict
  std::shared_ptr<const ktls::PeerTrust> trust_;
  std::chrono::sys_seconds authenticated_at_{};
  std::shared_ptr<const Endpoint> backend_;
  InUse in_use_;
  std::uint64_t received_bytes_ = 0;
  std::uint64_t sent_bytes_ = 0;
  std::unique_ptr<Refusal> refusal_;
  iouring::PeerAddress client_;
  CloseReason reason_ = CloseReason::kInternalError;
  std::optional<CloseReason> ended_by_;
  std::optional<ktls::RecordModel> records_;
  bool resumed_ = false;
};

/// Serves one client from accept to close. Everything that can end it ends here, with its reason.
iouring::Task<void> serve(ShardState& shard, ServedListener& listener, iouring::Socket client);

}  // namespace sallyport::gateway
