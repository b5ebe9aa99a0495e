#include "gateway/observe/admin.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <latch>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "gateway/run/option_values.h"

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

AdminHandlers handlers() {
  return {.metrics = [] { return std::string("# metrics\n"); },
          .readiness = [] { return Readiness{true, ""}; },
          .connections_json = [](unsigned limit) { return std::to_string(limit); },
          .routes_json = [] { return std::string("[\"routes\"]"); },
          .credentials_json = [] { return std::string("[\"credentials\"]"); }};
}

AdminOptions on(const std::string& address) {
  const ListenAddress listen = parse_listen_address(address).value();
  return {
      .address = listen.text, .host = listen.host, .v6 = listen.v6, .loopback = listen.loopback};
}

std::unique_ptr<AdminServer> started(AdminOptions options, AdminHandlers with = handlers()) {
  auto server = AdminServer::start(std::move(options), std::move(with));
  if (!server) {
    ADD_FAILURE() << server.error();
    return nullptr;
  }
  return *std::move(server);
}

class Client {
 public:
  explicit Client(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(socket_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
  }
  ~Client() { ::close(socket_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  [[nodiscard]] bool connected() const { return connected_; }
  void send(const std::string& text) const {
    EXPECT_EQ(::send(socket_, text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  // Until the server closes.
  [[nodiscard]] std::string receive_all() const {
    std::string text;
    std::array<char, 4096> part{};
    for (;;) {
      const ssize_t got = ::recv(socket_, part.data(), part.size(), 0);
      if (got <= 0) return text;
      text.append(part.data(), static_cast<std::size_t>(got));
    }
  }

 private:
  int socket_;
  bool connected_ = false;
};

std::string request(const AdminServer& server, const std::string& line) {
  const Client client(server.port());
  client.send(line + " HTTP/1.1\r\nHost: x\r\n\r\n");
  return client.receive_all();
}

TEST(AdminServer, ServesTheTextsOfItsHandlers) {
  const auto server = started(on("127.0.0.1:0"));
  ASSERT_NE(server->port(), 0);
  const std::string metrics = request(*server, "GET /metrics");
  EXPECT_THAT(metrics, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(metrics, HasSubstr("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
  EXPECT_THAT(metrics, HasSubstr("\r\nContent-Length: 10\r\n"));
  EXPECT_THAT(metrics, EndsWith("\r\n\r\n# metrics\n"));
  EXPECT_THAT(request(*server, "GET /healthz"), EndsWith("\r\n\r\nalive\n"));
  const std::string routes = request(*server, "GET /routes");
  EXPECT_THAT(routes, HasSubstr("\r\nContent-Type: application/json\r\n"));
  EXPECT_THAT(routes, EndsWith("[\"routes\"]"));
  EXPECT_THAT(request(*server, "GET /credentials"), EndsWith("[\"credentials\"]"));
}

// What waited for any answer found no listener yet.
TEST(AdminServer, SaysNothingButThatItStartsUntilThatIsOver) {
  std::atomic<bool> over = false;
  AdminHandlers starting = handlers();
  starting.started = [&] { return over.load(); };
  const auto server = started(on("127.0.0.1:0"), starting);
  for (const char* path : {"/metrics", "/healthz", "/readyz", "/connections", "/nowhere"}) {
    EXPECT_THAT(request(*server, std::string("GET ") + path), StartsWith("HTTP/1.1 503 "));
  }
  over = true;
  EXPECT_THAT(request(*server, "GET /healthz"), StartsWith("HTTP/1.1 200 "));
}

TEST(AdminServer, SaysWhyItIsNotReady) {
  AdminHandlers changing = handlers();
  std::atomic<bool> ready = false;
  changing.readiness = [&ready] { return Readiness{ready, "no usable endpoint"}; };
  const auto server = started(on("127.0.0.1:0"), changing);
  const std::string before = request(*server, "GET /readyz");
  EXPECT_THAT(before, StartsWith("HTTP/1.1 503 Service Unavailable\r\n"));
  EXPECT_THAT(before, EndsWith("\r\n\r\nno usable endpoint\n"));
  ready = true;
  EXPECT_THAT(request(*server, "GET /readyz"), StartsWith("HTTP/1.1 200 OK\r\n"));
}

TEST(AdminServer, AnswersHeadWithoutABody) {
  const auto server = started(on("127.0.0.1:0"));
  const std::string head = request(*server, "HEAD /metrics");
  EXPECT_THAT(head, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(head, HasSubstr("\r\nContent-Length: 10\r\n"));
  EXPECT_THAT(head, EndsWith("\r\n\r\n"));
}

TEST(AdminServer, RefusesOtherMethods) {
  const auto server = started(on("127.0.0.1:0"));
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS", "PATCH"}) {
    const std::string answer = request(*server, std::string(method) + " /metrics");
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 405 Method Not Allowed\r\n")) << method;
    EXPECT_THAT(answer, HasSubstr("\r\nAllow: GET, HEAD\r\n")) << method;
  }
}

TEST(AdminServer, KnowsExactPathsOnly) {
  const auto server = started(on("127.0.0.1:0"));
  for (const char* path : {"/", "/metrics/", "/metricsx", "/Metrics", "//metrics", "/x/../metrics",
                           "/./metrics", "/connections/1", "/../../etc/passwd", "/etc/passwd"}) {
    EXPECT_THAT(request(*server, std::string("GET ") + path), HasSubstr("HTTP/1.1 404 Not Found"))
        << path;
  }
}

TEST(AdminServer, ChecksTheLimitOfConnections) {
  const auto server = started(on("127.0.0.1:0"));
  EXPECT_THAT(request(*server, "GET /connections"), EndsWith("\r\n\r\n100"));
  EXPECT_THAT(request(*server, "GET /connections?limit=7"), EndsWith("\r\n\r\n7"));
  EXPECT_THAT(request(*server, "GET /connections?other=1"), EndsWith("\r\n\r\n100"));
  EXPECT_THAT(request(*server, "GET /connections?limit=10000"), EndsWith("\r\n\r\n10000"));
  for (const char* limit : {"0", "-1", "10001", "x", "1x", "", "99999999999",
                            "1111111111111111111111111111111111111111"}) {
    EXPECT_THAT(request(*server, std::string("GET /connections?limit=") + limit),
                StartsWith("HTTP/1.1 400 Bad Request"))
        << limit;
  }
}

TEST(AdminServer, ShowsOnlyMetricsAndHealthToOtherMachines) {
  const auto server = started(on("0.0.0.0:0"));
  for (const char* path : {"/metrics", "/healthz", "/readyz"}) {
    EXPECT_THAT(request(*server, std::string("GET ") + path), HasSubstr(" 200 OK")) << path;
  }
  for (const char* path : {"/connections", "/routes", "/credentials"}) {
    EXPECT_THAT(request(*server, std::string("GET ") + path), HasSubstr(" 404 ")) << path;
  }
}

TEST(AdminServer, ShowsEverythingToOtherMachinesWhenToldTo) {
  AdminOptions options = on("0.0.0.0:0");
  options.expose_all = true;
  const auto server = started(options);
  EXPECT_THAT(request(*server, "GET /routes"), HasSubstr(" 200 OK"));
}

TEST(AdminServer, ListensOnIpv6OrReportsThatItsLibraryCannot) {
  const auto server = AdminServer::start(on("[::1]:0"), handlers());
  if (server) {
    EXPECT_NE((*server)->port(), 0);
  } else {
    EXPECT_THAT(server.error(), HasSubstr("cannot listen on [::1]:0: "));
  }
}

TEST(AdminServer, SaysThatItsAddressIsInUse) {
  const auto first = started(on("127.0.0.1:0"));
  const std::string address = "127.0.0.1:" + std::to_string(first->port());
  const auto second = AdminServer::start(on(address), handlers());
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error(), HasSubstr(address));
  EXPECT_THAT(second.error(), HasSubstr("Address already in use"));
}

TEST(AdminServer, DropsASilentClient) {
  AdminOptions options = on("127.0.0.1:0");
  options.request_timeout = 50ms;
  const auto server = started(options);
  const Client silent(server->port());
  const Client half(server->port());
  half.send("GET /metrics HT");
  ASSERT_TRUE(silent.connected());
  EXPECT_THAT(silent.receive_all(), Not(HasSubstr(" 200 ")));
  EXPECT_THAT(half.receive_all(), Not(HasSubstr(" 200 ")));
  EXPECT_THAT(request(*server, "GET /healthz"), HasSubstr(" 200 OK"));
}

TEST(AdminServer, AnswersARequestThatIsNotHttpAndGoesOn) {
  const auto server = started(on("127.0.0.1:0"));
  for (const std::string& garbage :
       {std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03garbage\r\n\r\n", 20),
        std::string("GET\r\n\r\n"), std::string("GET /metrics NONSENSE\r\n\r\n")}) {
    const Client client(server->port());
    client.send(garbage);
    EXPECT_THAT(client.receive_all(), Not(HasSubstr(" 200 ")));
  }
  EXPECT_THAT(request(*server, "GET /healthz"), HasSubstr(" 200 OK"));
}

TEST(AdminServer, TurnsAHandlersExceptionInto500) {
  AdminHandlers failing = handlers();
  failing.metrics = []() -> std::string { throw std::runtime_error("secret detail"); };
  const auto server = started(on("127.0.0.1:0"), failing);
  const std::string answer = request(*server, "GET /metrics");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 500 Internal Server Error"));
  EXPECT_THAT(answer, Not(HasSubstr("secret")));
}

TEST(AdminServer, AnswersTwoAtATime) {
  std::latch both(2);
  AdminHandlers meeting = handlers();
  meeting.metrics = [&both] {
    both.arrive_and_wait();  // would never return if requests came one after another
    return std::string("met\n");
  };
  const auto server = started(on("127.0.0.1:0"), meeting);
  std::string other;
  std::thread second([&] { other = request(*server, "GET /metrics"); });
  EXPECT_THAT(request(*server, "GET /metrics"), EndsWith("met\n"));
  second.join();
  EXPECT_THAT(other, EndsWith("met\n"));
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
  const auto server = started(on("127.0.0.1:0"), asking);
  EXPECT_THAT(request(*server, "GET /metrics"), HasSubstr(" 200 OK"));
  EXPECT_TRUE(masked);
}

TEST(AdminServer, SendsMegabytes) {
  AdminHandlers large = handlers();
  const std::string body(8'000'000, 'x');
  large.metrics = [&body] { return std::string(body); };
  const auto server = started(on("127.0.0.1:0"), large);
  const std::string answer = request(*server, "GET /metrics");
  EXPECT_THAT(answer, HasSubstr("\r\nContent-Length: 8000000\r\n"));
  EXPECT_EQ(answer.size() - answer.find("\r\n\r\n") - 4, body.size());
}

}  // namespace
}  // namespace sallyport::gateway
