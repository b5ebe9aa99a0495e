#include "gateway/backends/dns_channel.h"

#include <ares.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <list>
#include <map>
#include <type_traits>
#include <utility>

namespace sallyport::gateway {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Queries that leave by one port: few, since who forges an answer has to guess it; but not one,
// since each port is a descriptor.
[[maybe_unused]] constexpr int kMostByPort = 16;

// c-ares counts who has initialised it.
class AresLibrary {
 public:
  AresLibrary() : status_(ares_library_init(ARES_LIB_INIT_ALL)) {}
  ~AresLibrary() { ares_library_cleanup(); }
  AresLibrary(const AresLibrary&) = delete;
  AresLibrary& operator=(const AresLibrary&) = delete;
  [[nodiscard]] int status() const { return status_; }

 private:
  int status_;
};

struct FreeAddrInfo {
  void operator()(ares_addrinfo* info) const { ares_freeaddrinfo(info); }
};
using AddrInfo = std::unique_ptr<ares_addrinfo, FreeAddrInfo>;

struct DestroyAres {
  void operator()(ares_channel channel) const { ares_destroy(channel); }
};
using AresChannel = std::unique_ptr<std::remove_pointer_t<ares_channel>, DestroyAres>;

// Not so broadcast and multicast, nor 0.0.0.0 and ::, with which a filter answers that a name is
// blocked: a connect to these would reach this machine.
bool names_one_host(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    const std::uint32_t found =
        ntohl(reinterpret_cast<const sockaddr_in*>(address)->sin_addr.s_addr);
    return found != INADDR_ANY && found != INADDR_BROADCAST && !IN_MULTICAST(found);
  }
  const in6_addr& found = reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr;
  return !IN6_IS_ADDR_UNSPECIFIED(&found) && !IN6_IS_ADDR_MULTICAST(&found);
}

FoundHost found_host(const ares_addrinfo& info) {
  FoundHost found{.addresses = {}, .ttl = seconds::max()};
  // A TTL with its highest bit set is 0 (RFC 2181 8).
  const auto count = [&](int ttl) { found.ttl = std::min(found.ttl, seconds(std::max(ttl, 0))); };
  for (const ares_addrinfo_node* node = info.nodes; node; node = node->ai_next) {
    count(node->ai_ttl);
    if (names_one_host(node->ai_addr))
      found.addresses.emplace_back(node->ai_addr, node->ai_addrlen);
  }
  for (const ares_addrinfo_cname* alias = info.cnames; alias; alias = alias->next)
    count(alias->ttl);
  return found;
}

}  // namespace

class DnsChannel::Channel {
 public:
  [[nodiscard]] int open(const Options& options);

  void begin(const std::string& host, int family);
  void process(int socket, short events);

  // What a callback of c-ares gets.
  struct Lookup {
    Channel* channel;
    std::string host;
    std::list<Lookup>::iterator self;
  };

  AresLibrary library;
  std::map<int, short> sockets;  // with the events that c-ares waits for
  std::list<Lookup> lookups;     // under way
  std::vector<Finished> finished;
  AresChannel ares;  // last: destroying it ends the lookups

 private:
  static void on_socket(void* channel, ares_socket_t socket, int readable, int writable) noexcept;
  static void on_finished(void* lookup, int status, int timeouts, ares_addrinfo* info) noexcept;
};

int DnsChannel::Channel::open(const Options& options) {
  if (library.status() != ARES_SUCCESS) return library.status();
  std::string resolv_conf = options.resolv_conf;
  std::string file_then_servers = "fb";  // whatever nsswitch.conf says
  ares_options settings{};
  settings.flags = 0;  // without EDNS, as libc asks: an answer that does not fit comes by TCP
  settings.timeout = static_cast<int>(options.timeout.count());
  settings.tries = options.tries;
  settings.udp_port = options.port;  // in host byte order, whatever the man page of 1.18 says
  settings.tcp_port = options.port;
  settings.lookups = file_then_servers.data();
  settings.resolvconf_path = resolv_conf.data();
  settings.sock_state_cb = &Channel::on_socket;
  settings.sock_state_cb_data = this;
  int given = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_UDP_PORT |
              ARES_OPT_TCP_PORT | ARES_OPT_LOOKUPS | ARES_OPT_RESOLVCONF | ARES_OPT_SOCK_STATE_CB;
#ifdef ARES_OPT_UDP_MAX_QUERIES  // c-ares 1.20; before, a port is kept while any query waits
  settings.udp_max_queries = kMostByPort;
  given |= ARES_OPT_UDP_MAX_QUERIES;
#endif
#ifdef ARES_OPT_QUERY_CACHE  // c-ares 1.31 would answer by itself until the TTL ends
  settings.qcache_max_ttl = 0;
  given |= ARES_OPT_QUERY_CACHE;
#endif
  ares_channel channel = nullptr;
  const int status = ares_init_options(&channel, &settings, given);
  if (status == ARES_SUCCESS) ares.reset(channel);
  return status;
}

void DnsChannel::Channel::begin(const std::string& host, int family) {
  Lookup& lookup = lookups.emplace_back(Lookup{this, host, {}});
  lookup.self = std::prev(lookups.end());
  ares_addrinfo_hints hints{};
  hints.ai_family = family;
  hints.ai_socktype = SOCK_STREAM;
  // Not sorted: each address becomes an endpoint, and all of them get connections.
  hints.ai_flags = ARES_AI_NOSORT | ARES_AI_CANONNAME;
  ares_getaddrinfo(ares.get(), host.c_str(), nullptr, &hints, &Channel::on_finished, &lookup);
}

void DnsChannel::Channel::on_finished(void* lookup, int status, int /*timeouts*/,
                                      ares_addrinfo* info) noexcept {
  const AddrInfo owned(info);
  auto& ended = *static_cast<Lookup*>(lookup);
  Channel& channel = *ended.channel;
  Finished& finished = channel.finished.emplace_back(std::move(ended.host), FoundHost());
  if (status != ARES_SUCCESS) {
    finished.outcome = std::unexpected(ares_strerror(status));
  } else if (FoundHost found = found_host(*info); found.addresses.empty()) {
    finished.outcome = std::unexpected(ares_strerror(ARES_ENODATA));
  } else {
    finished.outcome = std::move(found);
  }
  channel.lookups.erase(ended.self);
}

void DnsChannel::Channel::on_socket(void* channel, ares_socket_t socket, int readable,
                                    int writable) noexcept {
  auto& sockets = static_cast<Channel*>(channel)->sockets;
  const int events = (readable ? POLLIN : 0) | (writable ? POLLOUT : 0);
  if (events == 0) {
    sockets.erase(socket);
  } else {
    sockets[socket] = static_cast<short>(events);
  }
}

// Both where there is an error: c-ares finds it out by either.
void DnsChannel::Channel::process(int socket, short events) {
  const bool error = (events & (POLLERR | POLLHUP | POLLNVAL)) != 0;
  ares_process_fd(ares.get(), error || (events & POLLIN) ? socket : ARES_SOCKET_BAD,
                  error || (events & POLLOUT) ? socket : ARES_SOCKET_BAD);
}

std::expected<DnsChannel, std::string> DnsChannel::open(const Options& options) {
  auto channel = std::make_unique<Channel>();
  const int status = channel->open(options);
  if (status != ARES_SUCCESS) return std::unexpected(ares_strerror(status));
  return DnsChannel(std::move(channel));
}

DnsChannel::DnsChannel(std::unique_ptr<Channel> channel) : channel_(std::move(channel)) {}
DnsChannel::DnsChannel(DnsChannel&& other) noexcept = default;
DnsChannel& DnsChannel::operator=(DnsChannel&& other) noexcept = default;
DnsChannel::~DnsChannel() = default;

void DnsChannel::begin(const std::string& host, int family) {
  channel_->begin(host, family);
}

void DnsChannel::add_sockets(std::vector<pollfd>& polled) const {
  for (const auto& [socket, events] : channel_->sockets) polled.push_back({socket, events, 0});
}

milliseconds DnsChannel::timeout(milliseconds most) const {
  timeval first{};
  if (!ares_timeout(channel_->ares.get(), nullptr, &first)) return most;
  const auto time = seconds(first.tv_sec) + std::chrono::microseconds(first.tv_usec);
  return std::min(std::chrono::ceil<milliseconds>(time), most);
}

void DnsChannel::process(std::span<const pollfd> polled) {
  for (const pollfd& each : polled) {
    // What was done for one before may have closed it.
    if (each.revents != 0 && channel_->sockets.contains(each.fd))
      channel_->process(each.fd, each.revents);
  }
  ares_process_fd(channel_->ares.get(), ARES_SOCKET_BAD, ARES_SOCKET_BAD);  // who was silent
}

std::vector<DnsChannel::Finished> DnsChannel::take_finished() {
  return std::exchange(channel_->finished, {});
}

std::vector<std::string> DnsChannel::under_way() const {
  std::vector<std::string> hosts;
  for (const Channel::Lookup& lookup : channel_->lookups) hosts.push_back(lookup.host);
  return hosts;
}

std::size_t DnsChannel::count_under_way() const {
  return channel_->lookups.size();
}

}  // namespace sallyport::gateway
