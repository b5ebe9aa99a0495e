#include "gateway/observe/admin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <future>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "gateway/observe/peers_json.h"
#include "gateway/run/option_values.h"
#include "iouring/file_descriptor.h"

namespace {
std::atomic<bool> fail_next_epoll_add = false;
}

// The linker's --wrap puts it in front of the C library's (CMakeLists.txt).
extern "C" {
int __real_epoll_ctl(int epoll, int operation, int descriptor, epoll_event* event);
int __wrap_epoll_ctl(int epoll, int operation, int descriptor, epoll_event* event) {
  if (operation == EPOLL_CTL_ADD && fail_next_epoll_add.exchange(false)) {
    errno = ENOSPC;  // fs.epoll.max_user_watches
    return -1;
  }
  return __real_epoll_ctl(epoll, operation, descriptor, event);
}
}

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

ConnectionFacts connection(std::uint64_t number) {
  ConnectionFacts facts;
  facts.id = std::to_string(number);
  return facts;
}

// Of 500 connections on each of two shards, at most 30 at a time.
void take_some(ConnectionCursor from, std::size_t most, TakeSlice take) {
  constexpr std::uint64_t kOfAShard = 500;
  std::uint64_t next = from.after ? *from.after + 1 : 0;
  ConnectionSlice slice;
  for (most = std::min(most, std::size_t{30}); most > 0 && next < kOfAShard; --most, ++next) {
    slice.connections.push_back(connection(from.shard * kOfAShard + next));
  }
  if (next < kOfAShard) {
    slice.next = {.shard = from.shard, .after = next - 1};
  } else if (from.shard == 0) {
    slice.next = {.shard = 1, .after = {}};
  }
  take(std::move(slice));
}

// Of 700 peers on each of two shards, at most 30 at a time.
void take_some_peers(PeerCursor from, std::size_t most, WhichPeers /*which*/, TakePeers take) {
  constexpr std::uint64_t kOfAShard = 700;
  PeerSlice slice;
  for (most = std::min(most, std::size_t{30}); most > 0 && from.after < kOfAShard; --most) {
    PeerFacts& peer = slice.peers.emplace_back();
    peer.route = std::to_string(from.shard * kOfAShard + from.after++);
  }
  if (from.after < kOfAShard) {
    slice.next = from;
  } else if (from.shard == 0) {
    slice.next = PeerCursor{.shard = 1};
  }
  take(std::move(slice));
}

AdminHandlers handlers() {
  return {.metrics = [] { return std::string("# metrics\n"); },
          .readiness = [] { return Readiness{true, ""}; },
          .connection_count = [] { return 1'000; },
          .connections = take_some,
          .in_force = [] { return InForce{.program = "1.2.3", .generation = 7, .shards = 2}; },
          .peers = take_some_peers,
          .refusals_json = [] { return std::string("[\"refusals\"]"); },
          .discovery_json = [] { return std::string("[\"discovery\"]"); },
          .routes_json = [] { return std::string("[\"routes\"]"); },
          .credentials_json = [] { return std::string("[\"credentials\"]"); }};
}

// A server, and the address that it got.
struct Started {
  std::unique_ptr<AdminServer> server;
  iouring::SocketAddress address;
};

Started started(const std::string& on, AdminHandlers with = handlers(), AdminOptions options = {}) {
  auto listener = AdminListener::bind(parse_admin_address(on).value()).value();
  const iouring::SocketAddress address = listener.address();
  std::vector<AdminListener> listeners;
  listeners.push_back(std::move(listener));
  auto server = AdminServer::start(std::move(listeners), options, std::move(with));
  if (!server) throw std::runtime_error(server.error());
  return {*std::move(server), address};
}

class Client {
 public:
  explicit Client(const iouring::SocketAddress& to)
      : socket_(::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0)),
        connected_(::connect(socket_.get(), to.data(), to.size()) == 0) {}

  [[nodiscard]] bool connected() const { return connected_; }
  [[nodiscard]] bool sends(const std::string& text) const {
    return ::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(text.size());
  }
  void send(const std::string& text) const { EXPECT_TRUE(sends(text)); }
  // Until the server closes.
  [[nodiscard]] std::string receive_all() const {
    std::string text;
    std::array<char, 4096> part{};
    for (;;) {
      const ssize_t got = ::recv(socket_.get(), part.data(), part.size(), 0);
      if (got <= 0) return text;
      text.append(part.data(), static_cast<std::size_t>(got));
    }
  }

 private:
  iouring::FileDescriptor socket_;
  bool connected_ = false;
};

std::string request(const Started& at, const std::string& line) {
  const Client client(at.address);
  client.send(line + " HTTP/1.1\r\nHost: localhost\r\n\r\n");
  return client.receive_all();
}

nlohmann::json json_of(const std::string& response) {
  return nlohmann::json::parse(response.substr(response.find("\r\n\r\n") + 4));
}

TEST(AdminServer, ServesTheTextsOfItsHandlers) {
  const auto server = started("127.0.0.1:0");
  const std::string metrics = request(server, "GET /metrics");
  EXPECT_THAT(metrics, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(metrics, HasSubstr("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
  EXPECT_THAT(metrics, HasSubstr("\r\nContent-Length: 10\r\n"));
  EXPECT_THAT(metrics, EndsWith("\r\n\r\n# metrics\n"));
  EXPECT_THAT(request(server, "GET /healthz"), EndsWith("\r\n\r\nalive\n"));
  const std::string routes = request(server, "GET /routes");
  EXPECT_THAT(routes, HasSubstr("\r\nContent-Type: application/json\r\n"));
  EXPECT_THAT(routes, EndsWith("[\"routes\"]"));
  EXPECT_THAT(request(server, "GET /credentials"), EndsWith("[\"credentials\"]"));
}

// What waited for any answer found no listener yet.
TEST(AdminServer, SaysNothingButThatItStartsUntilThatIsOver) {
  std::atomic<bool> over = false;
  AdminHandlers starting = handlers();
  starting.started = [&] { return over.load(); };
  const auto server = started("127.0.0.1:0", starting);
  for (const char* path : {"/metrics", "/healthz", "/readyz", "/connections", "/nowhere"}) {
    EXPECT_THAT(request(server, std::string("GET ") + path), StartsWith("HTTP/1.1 503 "));
  }
  over = true;
  EXPECT_THAT(request(server, "GET /healthz"), StartsWith("HTTP/1.1 200 "));
}

TEST(AdminServer, SaysWhyItIsNotReady) {
  AdminHandlers changing = handlers();
  std::atomic<bool> ready = false;
  changing.readiness = [&ready] { return Readiness{ready, "no usable endpoint"}; };
  const auto server = started("127.0.0.1:0", changing);
  const std::string before = request(server, "GET /readyz");
  EXPECT_THAT(before, StartsWith("HTTP/1.1 503 Service Unavailable\r\n"));
  EXPECT_THAT(before, EndsWith("\r\n\r\nno usable endpoint\n"));
  ready = true;
  EXPECT_THAT(request(server, "GET /readyz"), StartsWith("HTTP/1.1 200 OK\r\n"));
}

TEST(AdminServer, AnswersHeadWithoutABody) {
  const auto server = started("127.0.0.1:0");
  const std::string head = request(server, "HEAD /metrics");
  EXPECT_THAT(head, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(head, HasSubstr("\r\nContent-Length: 10\r\n"));
  EXPECT_THAT(head, EndsWith("\r\n\r\n"));
}

TEST(AdminServer, RefusesOtherMethods) {
  const auto server = started("127.0.0.1:0");
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS", "PATCH"}) {
    const std::string answer = request(server, std::string(method) + " /metrics");
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 405 Method Not Allowed\r\n")) << method;
    EXPECT_THAT(answer, HasSubstr("\r\nAllow: GET, HEAD\r\n")) << method;
  }
}

TEST(AdminServer, RefusesOtherMethodsWhateverTheLengthOfTheirBody) {
  const auto server = started("127.0.0.1:0");
  const Client client(server.address);
  client.send("POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n");
  EXPECT_THAT(client.receive_all(), StartsWith("HTTP/1.1 405 Method Not Allowed\r\n"));
}

TEST(AdminServer, ShowsOnlyMetricsAndHealthToOtherMachines) {
  const auto server = started("0.0.0.0:0");
  for (const char* path : {"/metrics", "/healthz", "/readyz"}) {
    EXPECT_THAT(request(server, std::string("GET ") + path), HasSubstr(" 200 OK")) << path;
  }
  for (const char* path : {"/connections", "/peers", "/peers/trust", "/refusals", "/discovery",
                           "/routes", "/credentials"}) {
    EXPECT_THAT(request(server, std::string("GET ") + path), HasSubstr(" 404 ")) << path;
  }
}

TEST(AdminServer, ShowsEverythingToOtherMachinesWhenToldTo) {
  const auto server = started("0.0.0.0:0", handlers(), {.expose_all = true});
  EXPECT_THAT(request(server, "GET /routes"), HasSubstr(" 200 OK"));
}

TEST(AdminServer, ListensOnIpv6) {
  if (::access("/proc/net/if_inet6", F_OK) != 0) GTEST_SKIP() << "no IPv6";
  const auto server = started("[::1]:0");
  EXPECT_THAT(request(server, "GET /routes"), HasSubstr(" 200 OK"));
}

TEST(AdminServer, ListensOnAUnixSocketWithoutALookAtHost) {
  const std::string path = testing::TempDir() + "admin_test." + std::to_string(::getpid());
  const auto server = started("unix:" + path);
  const Client client(server.address);
  client.send("GET /routes HTTP/1.1\r\nHost: gateway\r\n\r\n");
  EXPECT_THAT(client.receive_all(), HasSubstr(" 200 OK"));
}

TEST(AdminServer, RefusesAHostNameOnLoopback) {
  const auto server = started("127.0.0.1:0");
  const Client client(server.address);
  client.send("GET /metrics HTTP/1.1\r\nHost: rebound.example.org\r\n\r\n");
  EXPECT_THAT(client.receive_all(), StartsWith("HTTP/1.1 403 Forbidden\r\n"));
}

TEST(AdminServer, JoinsTheSlicesOfAllShards) {
  const auto server = started("127.0.0.1:0");
  const auto some = json_of(request(server, "GET /connections"));
  ASSERT_EQ(some.size(), 100U);
  EXPECT_EQ(some[0]["id"], "0");
  EXPECT_EQ(some[99]["id"], "99");
  const auto all = json_of(request(server, "GET /connections?total=1&limit=10000"));
  EXPECT_EQ(all["total"], 1'000);
  ASSERT_EQ(all["connections"].size(), 1'000U);
  for (std::size_t i = 0; i < 1'000; ++i) EXPECT_EQ(all["connections"][i]["id"], std::to_string(i));
}

TEST(AdminServer, GivesEveryPeerOnceInPages) {
  const auto server = started("127.0.0.1:0");
  std::vector<std::string> routes;
  std::vector<std::size_t> pages;
  std::string path = "/peers/trust";
  while (!path.empty()) {
    const auto page = json_of(request(server, "GET " + path));
    EXPECT_EQ(page["sallyport"], "1.2.3");
    EXPECT_EQ(page["generation"], 7);
    for (const auto& peer : page["peers"]) routes.push_back(peer["route"]);
    pages.push_back(page["peers"].size());
    const auto& next = page["next"];
    path = next.is_null() ? "" : "/peers/trust?after=" + next.dump();
  }
  ASSERT_EQ(pages, (std::vector<std::size_t>{1'000, 400}));
  for (std::size_t i = 0; i < routes.size(); ++i) EXPECT_EQ(routes[i], std::to_string(i));
  const std::string of_no_shard = std::to_string(to_number({.shard = 2, .after = 0}));
  EXPECT_THAT(request(server, "GET /peers/trust?after=" + of_no_shard), HasSubstr(" 400 "));
}

TEST(AdminServer, ListsThePeersOfAllShards) {
  const auto server = started("127.0.0.1:0");
  EXPECT_EQ(json_of(request(server, "GET /peers")).size(), 1'400U);
}

TEST(AdminServer, ShowsNoConnectionsAsAnEmptyList) {
  AdminHandlers none = handlers();
  none.connections = [](ConnectionCursor, std::size_t, TakeSlice take) { take({}); };
  const auto server = started("127.0.0.1:0", none);
  EXPECT_EQ(json_of(request(server, "GET /connections")), nlohmann::json::array());
}

TEST(AdminServer, AnswersOthersWhileAShardIsBusy) {
  AdminHandlers waiting = handlers();
  std::promise<TakeSlice> asked;
  waiting.connections = [&asked](ConnectionCursor, std::size_t, TakeSlice take) {
    asked.set_value(std::move(take));
  };
  const auto server = started("127.0.0.1:0", waiting);
  const Client first(server.address);
  first.send("GET /connections HTTP/1.1\r\nHost: localhost\r\n\r\n");
  TakeSlice take = asked.get_future().get();
  EXPECT_THAT(request(server, "GET /healthz"), HasSubstr(" 200 OK"));
  take({.connections = {connection(1)}, .next = {}});
  EXPECT_EQ(json_of(first.receive_all()).size(), 1U);
}

TEST(AdminServer, SaysThatAShardDidNotAnswer) {
  AdminHandlers waiting = handlers();
  TakeSlice late;
  waiting.connections = [&late](ConnectionCursor, std::size_t, TakeSlice take) {
    late = std::move(take);
  };
  {
    const auto server = started("127.0.0.1:0", waiting, {.request_timeout = 50ms});
    EXPECT_THAT(request(server, "GET /connections"), StartsWith("HTTP/1.1 503 "));
  }
  late({});  // after the server has gone
}

TEST(AdminServer, DropsASilentClient) {
  const auto server = started("127.0.0.1:0", handlers(), {.request_timeout = 50ms});
  const Client silent(server.address);
  const Client half(server.address);
  half.send("GET /metrics HT");
  ASSERT_TRUE(silent.connected());
  EXPECT_EQ(silent.receive_all(), "");
  EXPECT_EQ(half.receive_all(), "");
  EXPECT_THAT(request(server, "GET /healthz"), HasSubstr(" 200 OK"));
}

// Beast's timeout is cancelled by each read that ends, and is not heard where bytes always wait.
TEST(AdminServer, ClosesAClientThatSendsWithoutEndBehindItsAnswer) {
  const auto server = started("127.0.0.1:0");
  const Client client(server.address);
  client.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const auto begun = std::chrono::steady_clock::now();
  while (client.sends(std::string(10'000, 'x'))) {
    ASSERT_LT(std::chrono::steady_clock::now() - begun, 10s) << "ten times its room";
  }
}

TEST(AdminServer, IsNotStarvedByIdleClients) {
  const auto server = started("127.0.0.1:0", handlers(), {.request_timeout = 1h});
  std::vector<std::unique_ptr<Client>> idle;
  for (int i = 0; i < 200; ++i) {
    idle.push_back(std::make_unique<Client>(server.address));
    if (i % 2 == 0) idle.back()->send("GET /healthz HTTP/1.1\r\nHost:");
  }
  for (int i = 0; i < 10; ++i) EXPECT_THAT(request(server, "GET /healthz"), HasSubstr(" 200 OK"));
}

TEST(AdminServer, ClosesTheLongestIdleClientForANewOne) {
  const auto server = started("127.0.0.1:0", handlers(), {.request_timeout = 1h, .max_clients = 2});
  const Client first(server.address);
  const Client second(server.address);
  EXPECT_THAT(request(server, "GET /healthz"), HasSubstr(" 200 OK"));
  EXPECT_EQ(first.receive_all(), "");
  second.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_THAT(second.receive_all(), HasSubstr(" 200 OK"));
}

TEST(AdminServer, ClosesAClientThatWasAnsweredBeforeOneThatHasYetToAsk) {
  const auto server = started("127.0.0.1:0", handlers(), {.max_clients = 2});
  std::vector<std::unique_ptr<Client>> answered;
  for (int i = 0; i < 2; ++i) {
    answered.push_back(std::make_unique<Client>(server.address));
    answered.back()->send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    EXPECT_THAT(answered.back()->receive_all(), HasSubstr(" 200 OK"));
  }
  const Client slow(server.address);
  EXPECT_THAT(request(server, "GET /healthz"), HasSubstr(" 200 OK"));
  slow.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_THAT(slow.receive_all(), HasSubstr(" 200 OK"));
}

TEST(AdminServer, ClosesOneOfManyThatWaitForTheirAnswerBeforeTheOneThatHasYetToAsk) {
  std::vector<TakeSlice> asked;
  std::promise<void> all_asked;
  AdminHandlers busy = handlers();
  busy.connections = [&](ConnectionCursor, std::size_t, TakeSlice take) {
    asked.push_back(std::move(take));
    if (asked.size() == 3) all_asked.set_value();
  };
  const auto server = started("127.0.0.1:0", busy, {.request_timeout = 1h, .max_clients = 3});
  std::vector<std::unique_ptr<Client>> waiting;
  for (int i = 0; i < 3; ++i) {
    waiting.push_back(std::make_unique<Client>(server.address));
    waiting.back()->send("GET /connections HTTP/1.1\r\nHost: localhost\r\n\r\n");
  }
  all_asked.get_future().wait();
  const Client slow(server.address);
  EXPECT_THAT(request(server, "GET /healthz"), HasSubstr(" 200 OK"));
  slow.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_THAT(slow.receive_all(), HasSubstr(" 200 OK"));
}

// CPU time of the process.
std::chrono::nanoseconds cpu_time() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

TEST(AdminServer, WaitsForADescriptorWithoutSpinning) {
  const auto server = started("127.0.0.1:0");
  const Client client(server.address);
  ASSERT_THAT(request(server, "GET /healthz"), HasSubstr(" 200 OK"));  // so `client` is accepted
  const iouring::FileDescriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  const rlimit none{.rlim_cur = 1, .rlim_max = before.rlim_max};
  ::setrlimit(RLIMIT_NOFILE, &none);
  EXPECT_EQ(::connect(socket.get(), server.address.data(), server.address.size()), 0);
  EXPECT_EQ(client.receive_all(), "");  // closed, as the one to spare

  const auto cpu_before = cpu_time();
  pollfd answer{.fd = socket.get(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&answer, 1, 1'000), 0);
  EXPECT_LT(cpu_time() - cpu_before, 200ms);

  ::setrlimit(RLIMIT_NOFILE, &before);
  const std::string text = "GET /healthz HTTP/1.0\r\n\r\n";
  ::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL);
  std::array<char, 100> part{};
  EXPECT_GT(::recv(socket.get(), part.data(), part.size(), 0), 0);
}

TEST(AdminServer, OutlivesAConnectionThatTheKernelHasNoRoomFor) {
  const auto server = started("127.0.0.1:0");
  fail_next_epoll_add = true;
  const Client refused(server.address);
  EXPECT_EQ(refused.receive_all(), "") << "closed";
  EXPECT_THAT(request(server, "GET /healthz"), HasSubstr(" 200 OK"));
}

TEST(AdminServer, AnswersARequestThatIsNotHttpAndGoesOn) {
  const auto server = started("127.0.0.1:0");
  for (const std::string& garbage :
       {std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03garbage\r\n\r\n", 20),
        std::string("GET\r\n\r\n"), std::string("GET /metrics NONSENSE\r\n\r\n")}) {
    const Client client(server.address);
    client.send(garbage);
    EXPECT_THAT(client.receive_all(), Not(HasSubstr(" 200 ")));
  }
  EXPECT_THAT(request(server, "GET /healthz"), HasSubstr(" 200 OK"));
}

TEST(AdminServer, TurnsAHandlersExceptionInto500) {
  AdminHandlers failing = handlers();
  failing.metrics = []() -> std::string { throw std::runtime_error("secret detail"); };
  const auto server = started("127.0.0.1:0", failing);
  const std::string answer = request(server, "GET /metrics");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 500 Internal Server Error"));
  EXPECT_THAT(answer, Not(HasSubstr("secret")));
}

TEST(AdminServer, TakesNoSignalsOnItsThreads) {
  AdminHandlers asking = handlers();
  std::atomic<bool> masked = false;
  asking.metrics = [&masked] {
    sigset_t mask;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    masked = ::sigismember(&mask, SIGTERM) == 1 && ::sigismember(&mask, SIGHUP) == 1;
    return std::string();
  };
  const auto server = started("127.0.0.1:0", asking);
  EXPECT_THAT(request(server, "GET /metrics"), HasSubstr(" 200 OK"));
  EXPECT_TRUE(masked);
}

TEST(AdminServer, SendsMegabytes) {
  AdminHandlers large = handlers();
  const std::string body(8'000'000, 'x');
  large.metrics = [&body] { return std::string(body); };
  const auto server = started("127.0.0.1:0", large);
  const std::string answer = request(server, "GET /metrics");
  EXPECT_THAT(answer, HasSubstr("\r\nContent-Length: 8000000\r\n"));
  EXPECT_EQ(answer.size() - answer.find("\r\n\r\n") - 4, body.size());
}

}  // namespace
}  // namespace sallyport::gateway
