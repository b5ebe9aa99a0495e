// A connection from accept to close, with the facts that its phases find out.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "gateway/backends/balance.h"
#include "gateway/connection/close_reason.h"
#include "gateway/connection/connection_facts.h"
#include "gateway/connection/grant.h"
#include "gateway/connection/negotiated.h"
#include "gateway/connection/proxy_header_reader.h"
#include "gateway/connection/refusal.h"
#include "gateway/connection/shard_state.h"
#include "gateway/policy/live_cause.h"
#include "iouring/address.h"
#include "iouring/cancel.h"
#include "iouring/list.h"
#include "ktls/handshake/server_handshake.h"
#include "ktls/records/record_layer.h"
#include "metrics/cells.h"

namespace sallyport::gateway {

struct RelayState;

/// In its shard's list of live ones from construction on. Counts itself at construction and, with a
/// log line, at destruction. serve() writes it phase by phase; relay, log and admin read
/// it. Shard's thread only.
class LiveConnection : public iouring::ListNode {
 public:
  /// `scope` is what the connection's task runs under.
  LiveConnection(ShardState& shard, ServedListener& listener, iouring::CancelScope& scope,
                 iouring::PeerAddress client);
  ~LiveConnection();
  LiveConnection(const LiveConnection&) = delete;
  LiveConnection& operator=(const LiveConnection&) = delete;

  /// Ends it from outside, whatever phase it is in: cancels what it waits for. The first reason
  /// wins.
  void end(CloseReason reason) noexcept;
  /// What relays it: set by relay() for as long as it does.
  void set_relay(RelayState* relay) noexcept { relay_ = relay; }
  [[nodiscard]] RelayState* relay() const noexcept { return relay_; }
  /// Whether its client was let in and it has not begun to end: what can be judged again.
  [[nodiscard]] bool is_established() const noexcept {
    return negotiated_ && !refusal_ && !over_ && !ended_by_;
  }
  /// Another generation has its route: by name the same, `rule` lets its client in. References to
  /// the one before become invalid: keep grant().route beside one that must last.
  void renew_grant(std::shared_ptr<const Route> route, Rule rule) noexcept;
  /// It goes on although this cause holds, by --keep-live; none: no such cause holds.
  void set_kept(std::optional<LiveCause> cause);
  [[nodiscard]] std::optional<LiveCause> kept() const noexcept {
    if (kept_ == kNotKept) return std::nullopt;
    return static_cast<LiveCause>(kept_);
  }
  [[nodiscard]] iouring::TimePoint accepted_at() const noexcept { return accepted_at_; }
  /// Since it was accepted.
  [[nodiscard]] std::chrono::milliseconds age() const noexcept;
  /// From 0 to 1, the same at each call, by chance from one connection to the next.
  [[nodiscard]] double chance() const noexcept;

  /// The reason given to end(), if it was called.
  [[nodiscard]] std::optional<CloseReason> ended_by() const noexcept { return ended_by_; }
  [[nodiscard]] iouring::CancelScope& scope() noexcept { return scope_; }

  // ---- what the phases find out, in their order

  /// What its socket is connected to is a proxy, which says these addresses: client() from now on.
  void set_proxied(const ProxiedAddresses& addresses);
  /// Its client is an application of this machine, `user` if that is known: it acts as this gateway
  /// on `route`, and no handshake is to come.
  void set_local(std::shared_ptr<const Route> route, std::optional<LocalUser> user);
  /// The first byte has arrived: a handshake has begun, and must get a verdict.
  void start_handshake();
  [[nodiscard]] bool handshake_started() const noexcept { return undecided_ != nullptr; }
  /// The server name of the ClientHello, as received.
  void set_sni(std::string_view sni);
  /// From now on it is counted under `route`. `alpn` is the protocol that is confirmed.
  void set_route(std::shared_ptr<const Route> route, std::string_view alpn);
  /// The client has proven its identity.
  void set_peer(const ktls::Outcome& outcome);
  /// The verdict `success`: authenticated, routed, and authorised by `rule` of the route.
  void mark_established(Rule rule);
  void set_records(ktls::RecordModel model) noexcept { records_ = model; }
  /// It went on to another endpoint so often.
  void count_failovers(unsigned times) noexcept;
  /// The places, at its endpoint and of its route, become this connection's. `local` is the
  /// gateway's address towards it.
  void set_backend(InUse in_use, RoutePlace of_route, std::chrono::nanoseconds took,
                   const iouring::SocketAddress& local);
  /// It has proven its identity, too.
  void set_backend_peer(std::shared_ptr<const ktls::PeerTrust> peer, bool resumed);
  /// Its route keeps connections ready, and it has got one of them, or none. Counted as a hit once
  /// the backend answers, or at its end; as a miss where the backend ends it before.
  void set_warm(bool got_one) noexcept;
  [[nodiscard]] bool began_warm() const noexcept { return began_warm_; }
  /// The backend has ended its side, or the whole, of a client that has not.
  void backend_ended_first() noexcept { settle_warm(false); }

  /// The reason of its end, unless end() or set_refused() gives another.
  void set_reason(CloseReason reason) noexcept {
    reason_ = reason;
    over_ = true;
  }
  /// The reason and, where there was no verdict yet, the verdict of its handshake.
  void set_refused(RefusalPtr refusal);

  /// The cells of its route, or those of no route.
  [[nodiscard]] metrics::RouteCells& route_cells() const { return open_.route(); }
  void count_received(metrics::Leg leg, std::size_t bytes) noexcept;
  /// The legs that count_received() was called for since the last call, a bit each (1 << Leg).
  [[nodiscard]] unsigned take_heard() noexcept {
    const unsigned heard = heard_;
    heard_ = 0;
    return heard;
  }
  /// Of application data, from the client.
  [[nodiscard]] std::uint64_t received_bytes() const noexcept { return received_bytes_; }
  void count_sent(metrics::Leg leg, std::size_t bytes) noexcept;
  /// Of application data, to the client.
  [[nodiscard]] std::uint64_t sent_bytes() const noexcept { return sent_bytes_; }

  // ---- what relay, log and admin read

  [[nodiscard]] ShardState& shard() const noexcept { return shard_; }
  /// The true one, where a proxy in front says it.
  [[nodiscard]] const iouring::PeerAddress& client() const noexcept { return client_; }
  /// The address that the client connected to, where a proxy in front says it; else none.
  [[nodiscard]] iouring::SocketAddress proxied_destination() const;
  /// After set_route().
  [[nodiscard]] const Route& route() const noexcept { return *grant_.route; }
  /// After set_backend(); null before.
  [[nodiscard]] const Endpoint* backend() const noexcept { return in_use_.endpoint().get(); }
  /// Who it is; null: it has not proven that, since its route speaks plaintext with it.
  [[nodiscard]] const ktls::PeerTrust* backend_peer() const noexcept {
    return backend_peer_ ? backend_peer_->trust.get() : nullptr;
  }
  /// After set_route(): the protocol that was confirmed to the client; empty: none.
  [[nodiscard]] std::string_view alpn() const noexcept { return negotiated()->alpn; }
  /// After set_peer(). Of an application of this machine: nobody's, without an identity and without
  /// end.
  [[nodiscard]] const ktls::PeerTrust& peer() const noexcept {
    return grant_.peer ? *grant_.peer : nobody();
  }
  /// Whether its client is an application of this machine.
  [[nodiscard]] bool is_egress() const noexcept { return !listener_.egress_route.empty(); }
  /// The listener that it came to.
  [[nodiscard]] const ServedListener& listener() const noexcept { return listener_; }
  /// Complete after mark_established().
  [[nodiscard]] const Grant& grant() const noexcept { return grant_; }
  [[nodiscard]] CloseReason reason() const noexcept { return reason_; }
  /// Grows from one connection of the shard to the next.
  [[nodiscard]] std::uint64_t number() const noexcept { return id_; }
  /// Whether it is younger than the connection of that number, which need not live any more.
  [[nodiscard]] bool is_behind(std::uint64_t number) const noexcept {
    return static_cast<std::int64_t>(id_ - number) > 0;  // numbers wrap around
  }
  /// For its log line.
  [[nodiscard]] ConnectionFacts facts() const;
  /// The same, and the client's certificate.
  [[nodiscard]] ConnectionFacts live_facts() const;

 private:
  /// The facts of a handshake that are needed only until its verdict.
  struct Undecided {
    metrics::StartedHandshake counted;
    iouring::TimePoint first_byte_at;
    Negotiated negotiated;
  };

  struct BackendPeer {
    std::shared_ptr<const ktls::PeerTrust> trust;  // never null; shared by equal ones of the shard
    bool resumed;
  };

  using Microseconds = std::chrono::duration<std::uint32_t, std::micro>;

  static const ktls::PeerTrust& nobody() noexcept;
  void decide(ktls::HandshakeResult result);
  void settle_warm(bool hit) noexcept;
  [[nodiscard]] const Negotiated* negotiated() const noexcept;

  // An idle connection is mostly this: what is shared is a pointer, what is over is gone, and text
  // is made when it is asked for.
  ShardState& shard_;
  ServedListener& listener_;
  iouring::CancelScope& scope_;
  RelayState* relay_ = nullptr;
  std::uint64_t id_;
  iouring::TimePoint accepted_at_;
  metrics::OpenConnection open_;
  std::unique_ptr<Undecided> undecided_;  // from the first byte to the verdict
  Microseconds handshake_took_{};
  Microseconds connect_took_{};
  Grant grant_;
  std::shared_ptr<const Negotiated> negotiated_;  // after the verdict
  InUse in_use_;
  std::unique_ptr<const BackendPeer> backend_peer_;  // most routes have none
  std::uint64_t received_bytes_ = 0;
  std::uint64_t sent_bytes_ = 0;
  RefusalPtr refusal_;
  iouring::PeerAddress client_;
  std::uint16_t local_host_ = LocalHosts::kNone;  // number of ShardState::local_hosts
  std::uint16_t local_port_ = 0;
  CloseReason reason_ = CloseReason::kInternalError;
  std::optional<CloseReason> ended_by_;
  std::optional<ktls::RecordModel> records_;
  static constexpr std::uint8_t kNotKept = 0xff;
  std::uint8_t kept_ = kNotKept;  // else a LiveCause
  bool over_ : 1 = false;         // its reason is known
  bool resumed_ : 1 = false;
  bool proxied_ : 1 = false;  // in ShardState::proxied
  bool began_warm_ : 1 = false;
  bool warm_open_ : 1 = false;  // neither a hit nor a miss yet
  std::uint8_t heard_ : 2 = 0;
};

/// A walk over a shard's live connections, oldest first, with other work in between: connections
/// may begin and end meanwhile. Those that begin are met as well.
class LiveWalk : public iouring::ListNode {
 public:
  explicit LiveWalk(ShardState& shard);
  ~LiveWalk() { unlink(); }

  /// Null behind the last.
  [[nodiscard]] LiveConnection* next() noexcept;

 private:
  friend class LiveConnection;
  ShardState& shard_;
  LiveConnection* next_;
};

}  // namespace sallyport::gateway
