#include "gateway/backends/dial.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "iouring/cancel.h"
#include "iouring/deadline.h"
#include "iouring/file_descriptor.h"
#include "iouring/task_group.h"
#include "tests/iouring/socket_options.h"
#include "tests/support/proc.h"
#include "tests/support/temp_dir.h"

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;
using iouring::FileDescriptor;
using iouring::Task;
using DialResult = std::expected<Dialed, DialFailure>;

// A backend on an address of the loopback that the kernel chooses.
class Backend {
 public:
  enum Kind {
    kListens,
    kRefuses,  // bound, so that the port is not given away, but not listening
    kSilent,   // its backlog is full: a connect waits until it gives up
  };

  explicit Backend(Kind kind, int family = AF_INET)
      : socket_(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_storage storage{};
    socklen_t size = sizeof(sockaddr_in);
    storage.ss_family = static_cast<sa_family_t>(family);
    if (family == AF_INET) {
      reinterpret_cast<sockaddr_in&>(storage).sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    } else {
      reinterpret_cast<sockaddr_in6&>(storage).sin6_addr = in6addr_loopback;
      size = sizeof(sockaddr_in6);
    }
    auto* address = reinterpret_cast<sockaddr*>(&storage);
    if (::bind(socket_.get(), address, size) != 0) return;
    if (kind != kRefuses && ::listen(socket_.get(), kind == kSilent ? 0 : 64) != 0) return;
    ::getsockname(socket_.get(), address, &size);
    target = iouring::SocketAddress(address, size).to_string();
    // Linux queues one more than the backlog says; the rest waits in SYN_SENT.
    for (int i = 0; kind == kSilent && i < 4; ++i) {
      fill_.emplace_back(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      [[maybe_unused]] const int in_progress = ::connect(fill_.back().get(), address, size);
    }
  }

  void listen() const { ::listen(socket_.get(), 64); }

  std::string target;  // empty: this host has no such address

 private:
  FileDescriptor socket_;
  std::vector<FileDescriptor> fill_;
};

Discovery discovery_of(const std::vector<std::string>& targets) {
  std::string text = "[{\"labels\": {\"route\": \"r\"}, \"targets\": [";
  for (const std::string& target : targets)
    text += (&target == &targets[0] ? "\"" : ",\"") + target + "\"";
  const auto discovery = parse_discovery(text + "]}]", "d.json");
  EXPECT_TRUE(discovery) << discovery.error().to_string();
  return *discovery;
}

EndpointSet::Pointer set_of(const std::vector<std::string>& targets) {
  return EndpointSet::build(discovery_of(targets), {}, nullptr);
}

Task<void> dial_into(iouring::Ring& ring, Balancer& balancer, const Route& route,
                     std::chrono::milliseconds timeout, std::optional<DialResult>& result,
                     Opening opening = nullptr) {
  result.emplace(co_await dial(ring, balancer, route, timeout, std::move(opening)));
}

Task<void> dial_until_cancelled(iouring::Ring& ring, Balancer& balancer, const Route& route,
                                std::chrono::milliseconds until,
                                std::optional<DialResult>& result) {
  iouring::CancelScope scope;
  iouring::Deadline deadline(ring, scope);
  if (until.count() == 0) {
    scope.cancel();
  } else {
    deadline.arm(until);
  }
  co_await iouring::in_scope(scope, dial_into(ring, balancer, route, 60s, result));
}

// The backlog of `listener` is full; it accepts once all have waited for a while.
Task<void> dial_all(iouring::Ring& ring, Balancer& balancer, const Route& route,
                    std::vector<std::optional<DialResult>>& results,
                    const FileDescriptor& listener) {
  const std::size_t threads = test::threads_of();
  iouring::TaskGroup group(ring);
  for (auto& result : results) group.spawn(dial_into(ring, balancer, route, 60s, result));
  co_await iouring::sleep_for(ring, 100ms);
  EXPECT_EQ(test::threads_of(), threads);
  std::vector<FileDescriptor> accepted;
  while (accepted.size() <= results.size()) {  // and the one that filled it
    FileDescriptor next(::accept(listener.get(), nullptr, nullptr));
    if (next) {
      accepted.push_back(std::move(next));
    } else {
      co_await iouring::sleep_for(ring, 1ms);
    }
  }
  co_await group.join();
}

using Opened = std::expected<OpenedTls, OpeningFailure>;

// An opening with this errno; 0: one that ended well.
Task<Opened> ends_with(int error) {
  if (error != 0) co_return std::unexpected(OpeningFailure{.sys_errno = error});
  co_return OpenedTls{};
}

Task<Opened> fails_with(ktls::HandshakeResult result) {
  co_return std::unexpected(OpeningFailure{.tls = std::make_unique<const ktls::HandshakeFailure>(
                                               ktls::HandshakeFailure{.result = result})});
}

// Until the time of the dialling is over.
Task<Opened> takes_its_time(iouring::Ring& ring, OpeningWait& wait, bool for_us) {
  wait = {.for_us = for_us, .since = ring.now()};
  iouring::Result<> slept = co_await iouring::sleep_for(ring, 1h);
  co_return std::unexpected(OpeningFailure{.sys_errno = slept.error().value});
}

class Dial : public testing::Test {
 protected:
  void SetUp() override {
    auto created = iouring::Ring::create();
    ASSERT_TRUE(created) << created.error().what;
    ring_ = std::move(*created);
    route_.name = "r";
    route_.allow_any_verified = true;
  }

  DialResult dial_to(const std::vector<std::string>& targets,
                     std::chrono::milliseconds timeout = 60s, Opening opening = nullptr) {
    set_ = EndpointSet::build(discovery_of(targets), {}, set_.get());
    balancer_.update(set_);
    std::optional<DialResult> result;
    ring_->run(dial_into(*ring_, balancer_, route_, timeout, result, std::move(opening)));
    return std::move(*result);
  }

  const Endpoint& only_endpoint() const { return *set_->find("r")->endpoints.at(0); }
  const Endpoint& endpoint(const Backend& backend) const {
    for (const auto& each : set_->find("r")->endpoints) {
      if (each->target == backend.target) return *each;
    }
    std::abort();
  }

  std::unique_ptr<iouring::Ring> ring_;
  EndpointSet::Pointer set_;  // what was dialled last
  Balancer balancer_{1};
  Route route_;
};

TEST_F(Dial, ConnectsAndCountsTheConnection) {
  const Backend backend(Backend::kListens);
  DialResult dialed = dial_to({backend.target});
  ASSERT_TRUE(dialed);
  EXPECT_EQ(dialed->endpoint->target, backend.target);
  EXPECT_EQ(dialed->socket.peer_address()->to_string(), backend.target);
  EXPECT_EQ(dialed->attempts, 1u);
  EXPECT_EQ(balancer_.in_use("r", dialed->endpoint->id), 1u);
  dialed->in_use.release();
  EXPECT_EQ(balancer_.in_use("r", dialed->endpoint->id), 0u);
}

TEST_F(Dial, SetsNoDelayAndKeepalive) {
  const Backend backend(Backend::kListens);
  const DialResult dialed = dial_to({backend.target});
  ASSERT_TRUE(dialed);
  EXPECT_EQ(get_option(dialed->socket, IPPROTO_TCP, TCP_NODELAY), 1);
  EXPECT_EQ(get_option(dialed->socket, SOL_SOCKET, SO_KEEPALIVE), 1);
}

TEST_F(Dial, ConnectsOverIpv6) {
  const Backend backend(Backend::kListens, AF_INET6);
  if (backend.target.empty()) GTEST_SKIP() << "this host has no IPv6 loopback";
  const DialResult dialed = dial_to({backend.target});
  ASSERT_TRUE(dialed);
  EXPECT_EQ(dialed->socket.peer_address()->to_string(), backend.target);
}

TEST_F(Dial, ConnectsToAUnixSocket) {
  const test::TempDir directory;
  const std::string path = (directory.path() / "b.sock").string();
  const FileDescriptor listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  ASSERT_LT(path.size(), sizeof address.sun_path);
  path.copy(address.sun_path, path.size());
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  const DialResult dialed = dial_to({"unix:" + path});
  ASSERT_TRUE(dialed);
  EXPECT_TRUE(dialed->socket);
}

TEST_F(Dial, AUnixSocketThatIsNotThereRefuses) {
  const test::TempDir directory;
  const DialResult dialed = dial_to({"unix:" + (directory.path() / "none.sock").string()});
  ASSERT_FALSE(dialed);
  EXPECT_EQ(dialed.error().error, DialError::kBackendRefused);
  EXPECT_EQ(dialed.error().last_errno, ENOENT);
}

TEST_F(Dial, GoesOnToTheNextEndpointWhenOneRefuses) {
  const Backend first(Backend::kRefuses), second(Backend::kRefuses), third(Backend::kListens);
  for (int i = 0; i < 6; ++i) {
    const DialResult dialed = dial_to({first.target, second.target, third.target});
    ASSERT_TRUE(dialed);
    EXPECT_EQ(dialed->endpoint->target, third.target);
    EXPECT_LE(dialed->attempts, 3u);
  }
}

TEST_F(Dial, OpensWhatItTakes) {
  const Backend refuses(Backend::kRefuses), good(Backend::kListens);
  std::vector<std::string> opened;
  const DialResult dialed = dial_to({refuses.target, good.target}, 60s,
                                    [&](iouring::Socket& backend, const Endpoint&, OpeningWait&) {
                                      opened.push_back(backend.peer_address()->to_string());
                                      EXPECT_EQ(get_option(backend, IPPROTO_TCP, TCP_NODELAY), 1)
                                          << "set later it would push";
                                      return ends_with(0);
                                    });
  ASSERT_TRUE(dialed);
  EXPECT_EQ(opened, std::vector{good.target});
}

TEST_F(Dial, GoesOnToTheNextEndpointWhereOneCannotBeOpened) {
  const Backend first(Backend::kListens), second(Backend::kListens);
  std::string failed;
  const DialResult dialed = dial_to({first.target, second.target}, 60s,
                                    [&](iouring::Socket& backend, const Endpoint&, OpeningWait&) {
                                      if (!failed.empty()) return ends_with(0);
                                      failed = backend.peer_address()->to_string();
                                      return ends_with(EPIPE);
                                    });
  ASSERT_TRUE(dialed);
  EXPECT_EQ(dialed->attempts, 2U);
  EXPECT_NE(dialed->endpoint->target, failed);
  const Endpoint& blamed = endpoint(failed == first.target ? first : second);
  EXPECT_EQ(blamed.health->error(), EPIPE);
  EXPECT_EQ(blamed.life->connect_failures(), 1U);
  EXPECT_EQ(balancer_.in_use("r", blamed.id), 0U);
}

TEST_F(Dial, IsRefusedWhereNoneCanBeOpened) {
  const Backend first(Backend::kListens), second(Backend::kListens);
  const DialResult dialed =
      dial_to({first.target, second.target}, 60s, [](auto&&...) { return ends_with(EAGAIN); });
  ASSERT_FALSE(dialed);
  EXPECT_EQ(dialed.error().error, DialError::kBackendRefused);
  EXPECT_EQ(dialed.error().last_errno, EAGAIN);
  EXPECT_EQ(dialed.error().attempts, 2U);
}

// The address may be another route's endpoint, which trusts another authority.
TEST_F(Dial, HoldsAFailedHandshakeAgainstTheEndpointAndNotAgainstItsAddress) {
  const Backend first(Backend::kListens), second(Backend::kListens);
  const DialResult dialed = dial_to({first.target, second.target}, 60s, [](auto&&...) {
    return fails_with(ktls::HandshakeResult::kCertificateExpired);
  });
  ASSERT_FALSE(dialed);
  EXPECT_EQ(dialed.error().error, DialError::kBackendTls);
  EXPECT_EQ(dialed.error().tls->result, ktls::HandshakeResult::kCertificateExpired);
  EXPECT_EQ(dialed.error().attempts, 2U);
  for (const Backend* each : {&first, &second}) {
    EXPECT_EQ(endpoint(*each).life->connect_failures(), 1U);
    EXPECT_EQ(endpoint(*each).life->failures_in_row(), 1U);
    EXPECT_FALSE(endpoint(*each).health->failing());
  }
}

// A client could have endpoints ejected otherwise.
TEST_F(Dial, DoesNotEjectAnEndpointForAProtocolThatTheClientChose) {
  const Backend backend(Backend::kListens);
  for (const bool forward : {true, false}) {
    route_.backend_tls = BackendTls{.forward_alpn = forward};
    const DialResult dialed = dial_to({backend.target}, 60s, [](auto&&...) {
      return fails_with(ktls::HandshakeResult::kNoApplicationProtocol);
    });
    ASSERT_FALSE(dialed);
    EXPECT_EQ(dialed.error().error, DialError::kBackendTls);
    EXPECT_EQ(only_endpoint().life->connect_failures(), forward ? 1U : 2U);
    EXPECT_EQ(only_endpoint().life->failures_in_row(), forward ? 0U : 1U);
  }
}

TEST_F(Dial, DoesNotBlameTheEndpointForADelayOfOurOwn) {
  const Backend backend(Backend::kListens);
  for (const bool for_us : {true, false}) {
    const DialResult dialed =
        dial_to({backend.target}, 20ms, [&](iouring::Socket&, const Endpoint&, OpeningWait& wait) {
          return takes_its_time(*ring_, wait, for_us);
        });
    ASSERT_FALSE(dialed);
    EXPECT_EQ(dialed.error().error, DialError::kBackendTimeout);
    EXPECT_EQ(only_endpoint().life->connect_failures(), for_us ? 0U : 1U);
  }
}

TEST_F(Dial, IsRefusedWhenEachRefuses) {
  const Backend first(Backend::kRefuses), second(Backend::kRefuses);
  const DialResult dialed = dial_to({first.target, second.target});
  ASSERT_FALSE(dialed);
  EXPECT_EQ(dialed.error().error, DialError::kBackendRefused);
  EXPECT_EQ(dialed.error().last_errno, ECONNREFUSED);
  EXPECT_EQ(dialed.error().attempts, 2u);
  ASSERT_TRUE(dialed.error().endpoint);
  EXPECT_EQ(balancer_.in_use("r", dialed.error().endpoint->id), 0u);
}

TEST_F(Dial, HasNoEndpointWhereNoneTakesConnections) {
  const DialResult dialed = dial_to({});
  ASSERT_FALSE(dialed);
  EXPECT_EQ(dialed.error().error, DialError::kNoEndpoint);
  EXPECT_EQ(dialed.error().attempts, 0u);
}

TEST_F(Dial, ASilentEndpointLeavesTimeForTheOthers) {
  const Backend silent(Backend::kSilent), good(Backend::kListens);
  for (int i = 0; i < 2; ++i) {
    const DialResult dialed = dial_to({silent.target, good.target}, 600ms);
    ASSERT_TRUE(dialed);
    EXPECT_EQ(dialed->endpoint->target, good.target);
  }
}

TEST_F(Dial, AsksASilentEndpointOnceForAllThatFollow) {
  const Backend silent(Backend::kSilent), good(Backend::kListens);
  unsigned attempts = 0;
  for (int i = 0; i < 6; ++i) {
    const DialResult dialed = dial_to({silent.target, good.target});
    ASSERT_TRUE(dialed);
    EXPECT_EQ(dialed->endpoint->target, good.target);
    attempts += dialed->attempts;
  }
  EXPECT_EQ(attempts, 7U);
  EXPECT_EQ(endpoint(silent).life->connect_failures(), 1U);
  EXPECT_EQ(endpoint(silent).health->error(), ETIMEDOUT);
  EXPECT_FALSE(endpoint(silent).up(ring_->now()));
  EXPECT_EQ(endpoint(good).life->connect_failures(), 0U);
  EXPECT_TRUE(endpoint(good).up(ring_->now()));
}

TEST_F(Dial, TriesTwoAtATimeAndTheFirstToAnswerIsTaken) {
  const Backend one(Backend::kSilent), two(Backend::kSilent), three(Backend::kSilent),
      good(Backend::kListens);
  for (int i = 0; i < 2; ++i) {
    const DialResult dialed = dial_to({one.target, two.target, three.target, good.target});
    ASSERT_TRUE(dialed);
    EXPECT_EQ(dialed->endpoint->target, good.target);
  }
  EXPECT_EQ(balancer_.in_use("r", endpoint(one).id), 0U);
}

TEST_F(Dial, RemembersARefusalUntilAConnectSucceeds) {
  const Backend refuses(Backend::kRefuses);
  ASSERT_FALSE(dial_to({refuses.target}));
  EXPECT_EQ(only_endpoint().health->error(), ECONNREFUSED);
  EXPECT_FALSE(only_endpoint().up(ring_->now()));
  refuses.listen();
  ASSERT_TRUE(dial_to({refuses.target})) << "there is no other";
  EXPECT_TRUE(only_endpoint().up(ring_->now()));
  EXPECT_EQ(only_endpoint().life->connect_failures(), 1U);
}

TEST_F(Dial, WaitsWithoutAThreadForRoomInTheBacklogOfAUnixSocket) {
  const test::TempDir directory;
  const std::string path = (directory.path() / "b.sock").string();
  const FileDescriptor listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  ASSERT_LT(path.size(), sizeof address.sun_path);
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const auto* const name = reinterpret_cast<const sockaddr*>(&address);
  ASSERT_EQ(::bind(listener.get(), name, sizeof address), 0);
  ASSERT_EQ(::listen(listener.get(), 0), 0);
  const FileDescriptor fills(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::connect(fills.get(), name, sizeof address), 0);

  set_ = set_of({"unix:" + path});
  balancer_.update(set_);
  std::vector<std::optional<DialResult>> results(20);
  ring_->run(dial_all(*ring_, balancer_, route_, results, listener));
  for (const auto& result : results) EXPECT_TRUE(*result);
}

TEST_F(Dial, TimesOutWhenAllAreSilent) {
  const Backend first(Backend::kSilent), second(Backend::kSilent);
  const DialResult dialed = dial_to({first.target, second.target}, 250ms);
  ASSERT_FALSE(dialed);
  EXPECT_EQ(dialed.error().error, DialError::kBackendTimeout);
  EXPECT_EQ(dialed.error().last_errno, ETIMEDOUT);
  EXPECT_EQ(dialed.error().attempts, 2u);
}

TEST_F(Dial, TimesOutWhenSomeAreSilentAndTheOthersRefuse) {
  const Backend silent(Backend::kSilent), refuses(Backend::kRefuses);
  const DialResult dialed = dial_to({silent.target, refuses.target}, 250ms);
  ASSERT_FALSE(dialed);
  EXPECT_EQ(dialed.error().error, DialError::kBackendTimeout);
}

TEST_F(Dial, EndsWithTheScopeOfItsCaller) {
  const Backend silent(Backend::kSilent), good(Backend::kListens);
  for (const auto until : {0ms, 30ms}) {
    set_ = set_of({silent.target});
    balancer_.update(set_);
    std::optional<DialResult> result;
    ring_->run(dial_until_cancelled(*ring_, balancer_, route_, until, result));
    ASSERT_FALSE(*result);
    EXPECT_EQ(result->error().error, DialError::kCancelled);
    const Endpoint& endpoint = only_endpoint();
    EXPECT_EQ(balancer_.in_use("r", endpoint.id), 0u);
    EXPECT_FALSE(endpoint.health->failing()) << "it was not silent for long";
  }
}

TEST_F(Dial, TriesTheNextEndpointWithoutATimeLimitToo) {
  const Backend refuses(Backend::kRefuses), good(Backend::kListens);
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(dial_to({refuses.target, good.target}, 0ms));
}

}  // namespace
}  // namespace sallyport::gateway
