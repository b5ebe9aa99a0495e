// The cells that a shard counts in: written by the shard's thread alone, read by the scraper.
//
// Every cell has one writer, so counting is a load and a store, without a lock prefix. Handles are
// looked up once (a listener at start, a route when it is chosen) and kept on the connection; the
// hot path counts through them.
//
// accepted = closed + open holds at every scrape because the number of open connections is not
// kept but computed: the cells only ever grow (accepted, routed, closed), each event adds to them
// in that order by release stores, and the scraper reads them in the opposite order. So whatever
// moment it catches, closed <= routed <= accepted, and
//   open(listener, "")    = accepted - routed(all routes) - closed(listener, "")
//   open(listener, route) = routed - closed(listener, route)
// add up by arithmetic. tls_handshakes_in_flight is started - ended in the same way.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace sallyport::metrics {

/// The label words that the owner of the metrics brings along; this library knows none of them.
/// A cell is chosen by the word's index. The words must outlive the registry.
struct Vocabulary {
  std::span<const std::string_view> close_reasons;  ///< connections_closed_total{reason}
  std::span<const std::string_view>
      handshake_results;  ///< tls_handshakes_total{result}; first: success
  std::span<const std::string_view> fallback_reasons;    ///< ktls_fallback_total{reason}
  std::span<const std::string_view> live_causes;         ///< connections_kept{cause}
  std::span<const std::string_view> check_results = {};  ///< backend_checks_total{result}
  /// proxy_headers_total{direction,result}
  std::span<const std::array<std::string_view, 2>> proxy_headers = {};
};

/// Index of a word of the vocabulary: a number, an enumeration in the order of the words, or a
/// value that knows its index.
class WordIndex {
 public:
  template <class T>
    requires(std::is_enum_v<T> || std::is_integral_v<T>)
  constexpr WordIndex(T word) : value_(static_cast<std::size_t>(word)) {}  // NOLINT: implicit
  template <class T>
    requires requires(const T& word) {
      { word.index() } -> std::same_as<std::size_t>;
    }
  constexpr WordIndex(const T& word) : value_(word.index()) {}  // NOLINT: implicit
  [[nodiscard]] constexpr std::size_t value() const { return value_; }

 private:
  std::size_t value_;
};

/// What clients ran into; the word is that of the flag or of the policy's key.
enum class Limit : std::size_t {
  kConnectionsPerAddress,
  kHandshakesPerAddress,
  // Of a route.
  kConnectionsPerIdentity,
  kHandshakesPerIdentity,
  kMaxConnections,
  kMaxConnectionsPerEndpoint,
};
inline constexpr std::array<std::string_view, 6> kLimitWords{"max-connections-per-address",
                                                             "max-handshakes-per-address",
                                                             "connections-per-identity",
                                                             "handshakes-per-identity",
                                                             "max-connections",
                                                             "max-connections-per-endpoint"};
[[nodiscard]] constexpr std::string_view to_string(Limit limit) {
  return kLimitWords.at(static_cast<std::size_t>(limit));
}
[[nodiscard]] constexpr bool is_of_route(Limit limit) {
  return limit >= Limit::kConnectionsPerIdentity;
}

/// How a TLS handshake with a backend ended; the word is that of the refusal that it may cause.
enum class BackendTlsResult : std::size_t {
  kSuccess,
  kFailed,
  // Of the server's certificate.
  kExpired,
  kRevoked,
  kUntrusted,
  kNotVerified,
};
inline constexpr std::array<std::string_view, 6> kBackendTlsWords{
    "success",         "backend_tls_failed", "backend_expired",
    "backend_revoked", "backend_untrusted",  "backend_not_verified"};

enum class Leg : std::size_t { kClient, kBackend };
enum class Direction : std::size_t { kReceive, kSend };
enum class Records : std::size_t { kKernel, kUserspace };

/// A number that one thread writes and any thread reads.
class Counter {
 public:
  Counter() = default;
  Counter(const Counter&) = delete;
  Counter& operator=(const Counter&) = delete;

  /// Writer's thread only.
  void add(std::uint64_t count = 1) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + count, std::memory_order_release);
  }
  /// Writer's thread only; for a count that is kept elsewhere. Must not go backwards.
  void set(std::uint64_t value) noexcept { value_.store(value, std::memory_order_release); }
  [[nodiscard]] std::uint64_t value() const noexcept {
    return value_.load(std::memory_order_acquire);
  }

 private:
  std::atomic<std::uint64_t> value_{0};
};

/// A number that goes up and down, which one thread writes and any thread reads.
class Gauge {
 public:
  explicit Gauge(std::int64_t value = 0) noexcept : value_(value) {}
  Gauge(const Gauge&) = delete;
  Gauge& operator=(const Gauge&) = delete;

  void set(std::int64_t value) noexcept { value_.store(value, std::memory_order_relaxed); }
  [[nodiscard]] std::int64_t value() const noexcept {
    return value_.load(std::memory_order_relaxed);
  }

 private:
  std::atomic<std::int64_t> value_;
};

/// A time, or none, that one thread writes and any thread reads.
class Moment {
 public:
  /// Writer's thread only.
  void set(std::optional<std::chrono::sys_seconds> time) noexcept {
    seconds_.set(time ? time->time_since_epoch().count() : kNone);
  }
  [[nodiscard]] std::optional<std::chrono::sys_seconds> value() const noexcept {
    const std::int64_t seconds = seconds_.value();
    if (seconds == kNone) return std::nullopt;
    return std::chrono::sys_seconds(std::chrono::seconds(seconds));
  }

 private:
  static constexpr std::int64_t kNone = std::numeric_limits<std::int64_t>::min();
  Gauge seconds_{kNone};
};

/// Upper bounds in seconds of the buckets of every histogram of ours; +Inf is implied.
inline constexpr std::array kBucketSeconds{.0005, .001, .0025, .005, .01, .02, .03, .04, .05,
                                           .075,  .1,   .25,   .5,   1.,  2.5, 5.,  10.};

struct HistogramSample {
  std::array<std::uint64_t, kBucketSeconds.size() + 1> counts{};  ///< not cumulative; last is +Inf
  double sum_seconds = 0;

  HistogramSample& operator+=(const HistogramSample& other);
  [[nodiscard]] std::uint64_t count() const;
};

/// Durations; one writer. The count of a sample is the sum of its buckets, so they always agree.
class Histogram {
 public:
  void observe(std::chrono::nanoseconds duration) noexcept;
  [[nodiscard]] HistogramSample sample() const;

 private:
  std::array<Counter, kBucketSeconds.size() + 1> counts_;
  Counter sum_ns_;
};

/// What is counted per (listener, route). Kept on the connection by pointer; never moves, and
/// lives as long as the registry: a removed route may come back, see RouteSeries.
class RouteCells {
 public:
  RouteCells(std::string route, std::size_t close_reasons);

  void received(Leg leg, std::uint64_t bytes) noexcept { received_[index(leg)].add(bytes); }
  void sent(Leg leg, std::uint64_t bytes) noexcept { sent_[index(leg)].add(bytes); }
  void backend_connected(std::chrono::nanoseconds took) noexcept { connect_.observe(took); }
  /// `took`: from the ClientHello to the verdict.
  void backend_tls(BackendTlsResult result, bool resumed, std::chrono::nanoseconds took) noexcept {
    backend_tls_[2 * static_cast<std::size_t>(result) + (resumed ? 1 : 0)].add();
    if (result == BackendTlsResult::kSuccess) backend_tls_took_.observe(took);
  }
  /// A connection starts, or stops, waiting at an endpoint for a client.
  void warm_opened() noexcept { warm_opened_.add(); }
  void warm_closed() noexcept { warm_closed_.add(); }
  /// Whether such a one served a client that needed a connection.
  void warm_taken(bool hit) noexcept { (hit ? warm_hits_ : warm_misses_).add(); }
  void backend_failed_over(std::uint64_t times) noexcept { failovers_.add(times); }
  void limit_reached(Limit limit) noexcept {
    limits_reached_[static_cast<std::size_t>(limit)].add();
  }

 private:
  friend class OpenConnection;
  friend class LingeringConnection;
  friend class ListenerCells;
  static constexpr std::size_t index(Leg leg) { return static_cast<std::size_t>(leg); }

  std::string route_;
  Counter routed_;
  std::vector<Counter> closed_;  // by reason; sized once
  std::array<Counter, 2> received_;
  std::array<Counter, 2> sent_;
  Counter lingering_begun_, lingering_ended_;
  Histogram connect_;
  std::array<Counter, 2 * kBackendTlsWords.size()> backend_tls_;  // 2 * result + resumed
  Histogram backend_tls_took_;
  Counter warm_opened_, warm_closed_;
  Counter warm_hits_, warm_misses_;
  Counter failovers_;
  std::array<Counter, kLimitWords.size()> limits_reached_;
};

/// At 2 * BackendTlsResult + resumed.
using BackendTlsCounts = std::array<std::uint64_t, 2 * kBackendTlsWords.size()>;

/// One (listener, route) at one moment.
struct RouteSample {
  std::string route;
  std::uint64_t open = 0;
  std::vector<std::uint64_t> closed;  ///< by reason
  std::array<std::uint64_t, 2> received_bytes{};
  std::array<std::uint64_t, 2> sent_bytes{};
  std::uint64_t lingering = 0;  ///< of `open`
  HistogramSample connect;
  BackendTlsCounts backend_tls{};
  HistogramSample backend_tls_took;
  std::uint64_t warm = 0;  ///< that wait
  std::uint64_t warm_hits = 0, warm_misses = 0;
  std::uint64_t failovers = 0;
  std::array<std::uint64_t, kLimitWords.size()> limits_reached{};  ///< by Limit
};

/// One listener at one moment: accepted == sum of closed + sum of open, always.
struct ListenerSample {
  std::string listener;
  std::uint64_t accepted = 0;
  std::uint64_t handshakes_in_flight = 0;
  std::vector<std::array<std::uint64_t, 2>> handshakes;  ///< [result][resumed]
  std::array<HistogramSample, 2> durations;              ///< [resumed]
  std::vector<RouteSample> routes;                       ///< the first is the unrouted, ""
};

/// What is counted per listener. Shard's thread only, but for sample().
class ListenerCells {
 public:
  ListenerCells(std::string listener, const Vocabulary& words);

  /// The cells of a route, made on first use. A lookup by name: once per connection.
  RouteCells& route(std::string_view name);

  /// Any thread.
  [[nodiscard]] ListenerSample sample() const;

 private:
  friend class OpenConnection;
  friend class StartedHandshake;

  std::string listener_;
  std::size_t close_reasons_;
  Counter accepted_;
  Counter handshakes_started_;
  std::vector<std::array<Counter, 2>> handshakes_;  // [result][resumed]; sized once
  std::array<Histogram, 2> durations_;
  RouteCells unrouted_;
  mutable std::mutex shape_mutex_;  // guards the shape of routes_, not the cells in it
  std::map<std::string, std::unique_ptr<RouteCells>, std::less<>> routes_;
};

/// Counts one connection from accept to close: accepted at construction, closed in the destructor
/// at the latest, so that it is counted on every way out. 24 bytes; shard's thread only.
class OpenConnection {
 public:
  /// `fallback` is the reason that is counted if ends_with() is not called.
  OpenConnection(ListenerCells& listener, WordIndex fallback);
  ~OpenConnection();
  OpenConnection(const OpenConnection&) = delete;
  OpenConnection& operator=(const OpenConnection&) = delete;

  /// Moves the connection from route "" to `name`; at most once (aborts otherwise).
  RouteCells& routed(std::string_view name);
  /// Counts it as closed, at once; at most once (aborts otherwise).
  void ends_with(WordIndex reason);
  /// The route's cells, or those of route "" before routed().
  [[nodiscard]] RouteCells& route() const { return *route_; }

 private:
  ListenerCells& listener_;
  RouteCells* route_;
  std::uint32_t fallback_;
  bool ended_ = false;
};

/// Counts one connection that lingers: its client has left, its backend's side is still open.
/// Shard's thread only.
class LingeringConnection {
 public:
  explicit LingeringConnection(RouteCells& route) : route_(route) { route_.lingering_begun_.add(); }
  ~LingeringConnection() { route_.lingering_ended_.add(); }
  LingeringConnection(const LingeringConnection&) = delete;
  LingeringConnection& operator=(const LingeringConnection&) = delete;

 private:
  RouteCells& route_;
};

/// Counts one TLS handshake from its first byte to exactly one result.
class StartedHandshake {
 public:
  /// `fallback` is the result that is counted if ends_with() is not called.
  StartedHandshake(ListenerCells& listener, WordIndex fallback);
  ~StartedHandshake();
  StartedHandshake(const StartedHandshake&) = delete;
  StartedHandshake& operator=(const StartedHandshake&) = delete;

  /// The verdict: counted at once, with the time since the first byte of the ClientHello. At most
  /// once (aborts otherwise). A handshake that ends without it adds no duration.
  void ends_with(WordIndex result, bool resumed, std::chrono::nanoseconds took);

 private:
  ListenerCells& listener_;
  std::size_t fallback_;
  bool ended_ = false;
};

/// One shard's own counts, not by listener.
struct ShardSample {
  struct Negotiated {
    std::string version, group, cipher;
    std::uint64_t count = 0;
  };
  unsigned shard = 0;
  std::vector<ListenerSample> listeners;
  std::vector<Negotiated> negotiated;
  std::vector<std::pair<std::string, std::chrono::sys_seconds>> peer_expiries;  ///< by route
  std::array<std::uint64_t, 2> keyupdates{};                                    ///< [Direction]
  std::array<std::array<std::uint64_t, 2>, 2> records_open{};  ///< [Direction][Records]
  std::vector<std::uint64_t> ktls_fallback;                    ///< by reason
  std::vector<std::uint64_t> kept;                             ///< by cause
  std::vector<std::uint64_t> proxy_headers;                    ///< by direction and result
  std::uint64_t rechecks = 0;
  std::int64_t recheck_took_ns = 0, recheck_longest_turn_ns = 0;  ///< of the last one
  std::uint64_t busy_ns = 0;
};

/// All cells of one shard. Made by Registry::add_shard; shard's thread only, but for sample().
class ShardMetrics {
 public:
  ShardMetrics(unsigned shard, const Vocabulary& words);

  /// The cells of a listener, made on first use; the reference stays valid. The one without a name
  /// is for what is done at backends ahead of clients: it counts by route, and is not shown itself.
  ListenerCells& listener(std::string_view name);

  /// When the first of the certificates of the clients that are connected to `route` expires. Made
  /// on first use; the reference stays valid.
  Moment& peer_expiry(std::string_view route);

  /// A successful handshake. A short search by name: once per handshake.
  void negotiated(std::string_view version, std::string_view group, std::string_view cipher);

  void keyupdate(Direction direction) noexcept { keyupdates_[index(direction)].add(); }
  /// A TLS connection starts, or stops, having the records of a direction protected so.
  void records_opened(Direction direction, Records records) noexcept {
    records_[index(direction)][index(records)].opened.add();
  }
  void records_closed(Direction direction, Records records) noexcept {
    records_[index(direction)][index(records)].closed.add();
  }
  /// All live connections were judged again: within this time, at most so long at a time.
  void live_recheck(std::chrono::nanoseconds took, std::chrono::nanoseconds longest_turn) noexcept {
    rechecks_.add();
    recheck_took_ns_.set(took.count());
    recheck_longest_turn_ns_.set(longest_turn.count());
  }
  /// A live connection starts, or stops, being kept although a cause for its end holds.
  void kept(WordIndex cause) { kept_.at(cause.value()).opened.add(); }
  void kept_no_more(WordIndex cause) { kept_.at(cause.value()).closed.add(); }
  void proxy_header(WordIndex what) { proxy_headers_.at(what.value()).add(); }
  void ktls_fallback(WordIndex reason) { ktls_fallback_.at(reason.value()).add(); }
  /// The event loop's time outside the wait since it started; call it now and then.
  void busy(std::chrono::nanoseconds total) noexcept {
    busy_ns_.set(static_cast<std::uint64_t>(total.count()));
  }

  /// Any thread.
  [[nodiscard]] ShardSample sample() const;

 private:
  template <class E>
  static constexpr std::size_t index(E value) {
    return static_cast<std::size_t>(value);
  }
  struct Negotiated {
    std::string version, group, cipher;
    Counter count;
  };
  struct Open {
    Counter opened, closed;
  };

  unsigned shard_;
  Vocabulary words_;
  mutable std::mutex shape_mutex_;  // guards the shape of what holds pointers
  std::vector<std::pair<std::string, std::unique_ptr<ListenerCells>>> listeners_;
  std::vector<std::unique_ptr<Negotiated>> negotiated_;
  std::map<std::string, std::unique_ptr<Moment>, std::less<>> peer_expiries_;  // by route
  std::array<Counter, 2> keyupdates_;
  std::array<std::array<Open, 2>, 2> records_;
  std::vector<Counter> ktls_fallback_;  // sized once
  std::vector<Open> kept_;              // sized once
  std::vector<Counter> proxy_headers_;  // sized once
  Counter rechecks_;
  Gauge recheck_took_ns_, recheck_longest_turn_ns_;
  Counter busy_ns_;
};

}  // namespace sallyport::metrics
