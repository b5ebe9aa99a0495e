#include "gateway/run/shard_set.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <iterator>
#include <optional>
#include <utility>

#include "gateway/observe/log.h"
#include "gateway/run/local_address.h"
#include "gateway/run/process.h"
#include "gateway/run/shard_count.h"
#include "gateway/run/socket_access.h"

namespace sallyport::gateway {
namespace {

Timeouts timeouts_of(const Options& options) {
  return {.handshake = options.handshake_timeout,
          .connect = options.connect_timeout,
          .half_close = options.half_close_timeout,
          .idle = options.idle_timeout,
          .lifetime = options.max_lifetime};
}

void log_cannot_listen(const ListenAddress& listen, iouring::Errno error) {
  log_error("cannot listen",
            {{"listener", listen.text}, {"error", bind_error_text(listen.address, error.value)}});
}

void log_shards(const ShardCount& count) {
  if (count.cpu_quota) {
    log_info("shards", {{"shards", count.shards},
                        {"usable_cpus", count.usable_cpus},
                        {"cpu_quota", *count.cpu_quota}});
  } else {
    log_info("shards", {{"shards", count.shards}, {"usable_cpus", count.usable_cpus}});
  }
}

}  // namespace

std::unique_ptr<ShardSet> ShardSet::create(ShardSetOptions options) {
  const std::vector<int> cpus = usable_cpus();
  const ShardCount shard_counts = shard_count(options.options, cpus.size());
  log_shards(shard_counts);
  const unsigned count = shard_counts.shards;
  const std::uint64_t descriptors = raise_descriptor_limit();
  const ConnectionCapacity capacity = connection_capacity(descriptors, count, options.can_install);
  const std::uint64_t max_connections =
      options.options.max_connections.value_or(capacity.connections);
  options.registry.set_max_connections(max_connections);
  log_info("limits", {{"descriptors", descriptors},
                      {"max_connections", max_connections},
                      {"carried", capacity.connections},
                      {"registered_descriptors", capacity.registered_descriptors}});

  std::unique_ptr<ShardSet> shards(new ShardSet(std::move(options), max_connections));
  shards->carried_checks_ = capacity.checks;
  if (!shards->create_shards(count, cpus, capacity)) return nullptr;
  if (!shards->bind_listeners()) return nullptr;
  return shards;
}

ShardSet::ShardSet(ShardSetOptions options, std::uint64_t max_connections)
    : options_(std::move(options)),
      timeouts_(timeouts_of(options_.options)),
      ends_{.keep = options_.options.keep_live,
            .end_spread = options_.options.end_spread,
            .expiry_spread = options_.options.expiry_spread},
      limit_(max_connections,
             [this] {
               for (const auto& shard : shards_) shard->end_lingering();
             }),
      client_limits_(max_connections, {.connections = options_.options.max_connections_per_address,
                                       .handshakes = options_.options.max_handshakes_per_address}) {
}

bool ShardSet::create_shards(unsigned count, const std::vector<int>& cpus,
                             const ConnectionCapacity& capacity) {
  const bool pinned = count <= cpus.size();
  if (!pinned) {
    log_warning("more shards than CPUs: not pinned", {{"shards", count}, {"cpus", cpus.size()}});
  }
  watchdog_ = Watchdog::create(count);
  for (unsigned i = 0; i < count; ++i) {
    metrics::ShardMetrics& metrics = options_.registry.add_shard(i);
    auto shard = Shard::create(
        {.index = i,
         .shards = count,
         .warm = std::max<std::size_t>(capacity.warm / count, 1),
         .cpu = pinned ? std::optional(cpus[i]) : std::nullopt,
         .registered_descriptors = static_cast<unsigned>(capacity.registered_descriptors),
         .handshakes = {.at_work = options_.options.max_handshakes,
                        .memory = options_.options.handshake_memory},
         .busy_poll = std::chrono::microseconds(options_.options.busy_poll_us),
         .wake_coalescing = std::chrono::microseconds(options_.options.wake_coalescing_us),
         .drain_timeout = options_.options.drain_timeout,
         .timeouts = timeouts_,
         .ends = ends_,
         .records = options_.records,
         .accept_proxy = options_.options.accept_proxy,
         .zone = options_.options.zone,
         .limit = limit_,
         .client_limits = client_limits_,
         .metrics = metrics,
         .connection_log = options_.connection_log,
         .watchdog = watchdog_.get(),
         .on_ended = options_.on_ended});
    if (!shard) {
      log_error("no io_uring for a shard", {{"shard", i}, {"error", shard.error()}});
      return false;
    }
    metrics_.push_back(&metrics);
    shards_.push_back(*std::move(shard));
  }
  return true;
}

// All are tried, so that each that cannot be bound is told.
bool ShardSet::bind_listeners() {
  const Options& options = options_.options;
  bool all = true;
  for (const ListenAddress& listen : options.listen) {
    const bool bound = bind_listener(listen, {.starttls_postgresql = listen.starttls_postgresql});
    all = bound && all;
  }
  for (const EgressAddress& egress : options.egress) {
    const bool bound = bind_egress(egress);
    all = bound && all;
  }
  return all;
}

bool ShardSet::bind_egress(const EgressAddress& egress) {
  if (egress.address.is_unix()) return bind_unix_egress(egress);
  return bind_listener({.text = egress.text, .address = egress.address},
                       {.egress_route = egress.route});
}

// One socket for all shards: unix sockets know no SO_REUSEPORT.
bool ShardSet::bind_unix_egress(const EgressAddress& egress) {
  const auto failed = [&egress](const std::string& why) {
    log_error("cannot listen", {{"listener", egress.text}, {"error", why}});
    return false;
  };
  const auto access = socket_access(egress, options_.options.user);
  if (!access) return failed(access.error());
  const iouring::FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return failed(std::strerror(errno));
  auto file = SocketFile::listen(
      socket.get(), egress.address, *access,
      options_.options.share_port ? SocketFile::InUse::kTakeOver : SocketFile::InUse::kIsAnError);
  if (!file) return failed(file.error());
  socket_files_.push_back(*std::move(file));
  for (const auto& shard : shards_) {
    iouring::FileDescriptor mine(::fcntl(socket.get(), F_DUPFD_CLOEXEC, 0));
    if (!mine) return failed(std::strerror(errno));
    const auto adopted = shard->adopt(egress.text, std::move(mine), {.egress_route = egress.route});
    if (!adopted) return failed(adopted.error().name());
  }
  listeners_.push_back({.text = egress.text, .address = egress.address});
  return true;
}

bool ShardSet::bind_listener(const ListenAddress& listen, const Shard::Clients& clients) {
  iouring::SocketAddress address = listen.address;
  for (const auto& shard : shards_) {
    const auto bound =
        shard->bind(listen.text, address, {.reuse_port = options_.options.share_port}, clients);
    if (!bound) {
      log_cannot_listen(listen, bound.error());
      return false;
    }
    address = *bound;  // port 0: the others take the port that the first shard got
  }
  listeners_.push_back({.text = listen.text, .address = address});
  return true;
}

bool ShardSet::listen() {
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    const bool beside_others = i > 0 || options_.options.share_port;
    const auto listens = shards_[i]->listen(beside_others);
    if (!listens) {
      log_cannot_listen(listeners_[listens.error().listener], listens.error().error);
      return false;
    }
  }
  for (SocketFile& file : socket_files_) {
    const auto taken = file.take_place();
    if (taken) continue;
    log_error("cannot listen", {{"listener", file.place()}, {"error", taken.error()}});
    return false;
  }
  listening_ = true;
  for (const ListenAddress& listen : listeners_) {
    log_info("listening", {{"listener", listen.text}, {"address", listen.address.to_string()}});
    if (listen.address.family() == AF_INET6 && ipv6_is_off()) {
      log_warning("IPv6 is switched off: no client comes here", {{"listener", listen.text}});
    }
  }
  return true;
}

void ShardSet::serve(const std::shared_ptr<const Snapshot>& snapshot,
                     const std::vector<TlsContexts>& contexts,
                     const std::vector<BackendContexts>& of_backends) {
  const bool first = !std::exchange(started_, true);
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    if (first) {
      shards_[i]->start(snapshot, contexts[i], of_backends[i]);
    } else {
      shards_[i]->update(snapshot, contexts.empty() ? nullptr : contexts[i], of_backends[i]);
    }
  }
}

void ShardSet::judge_all() {
  for (const auto& shard : shards_) shard->judge_all();
}

void ShardSet::drain() {
  for (const auto& shard : shards_) shard->drain();
}

void ShardSet::end_connections() {
  for (const auto& shard : shards_) shard->end_connections();
}

void ShardSet::join() {
  for (const auto& shard : shards_) shard->join();
}

void ShardSet::describe(ConnectionCursor from, std::size_t most, TakeSlice take) {
  const bool last = from.shard + 1 == shards_.size();
  shards_.at(from.shard)
      ->describe(from.after, most, [from, last, take = std::move(take)](auto slice) mutable {
        if (!slice.next && !last) slice.next = {.shard = from.shard + 1, .after = {}};
        take(std::move(slice));
      });
}

void ShardSet::describe_peers(PeerCursor from, std::size_t most, WhichPeers which, TakePeers take) {
  const bool last = from.shard + 1 == shards_.size();
  shards_.at(from.shard)
      ->describe_peers(from.after, most, which,
                       [from, last, take = std::move(take)](PeerSlice slice) mutable {
                         if (!slice.next && !last) slice.next = PeerCursor{.shard = from.shard + 1};
                         take(std::move(slice));
                       });
}

std::optional<std::size_t> ShardSet::hanging() const {
  return watchdog_ ? watchdog_->hanging() : std::nullopt;
}

void ShardSet::count_busy_time() {
  for (std::size_t i = 0; i < shards_.size(); ++i) metrics_[i]->busy(shards_[i]->busy_time());
}

}  // namespace sallyport::gateway
