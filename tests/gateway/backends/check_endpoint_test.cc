#include "gateway/backends/check_endpoint.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "iouring/cancel.h"
#include "tests/gateway/backends/check_fixture.h"
#include "tests/support/backend.h"
#include "tests/support/temp_dir.h"

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;
using Type = HealthCheck::Type;

HealthCheck http_check() {
  return {.type = Type::kHttp, .timeout = 60s};
}
HealthCheck text_check(std::string send, std::string expect) {
  return {.type = Type::kSendExpect,
          .timeout = 60s,
          .send = std::move(send),
          .expect = std::move(expect)};
}

std::string verdict_on(const HealthCheck& rule, std::string_view received) {
  const auto outcome = judge_answer(rule, received);
  if (!outcome) return "more";
  return outcome->result == CheckResult::kSuccess ? "good" : outcome->why;
}

TEST(JudgeAnswer, ReadsTheStatus) {
  const HealthCheck rule = http_check();
  EXPECT_EQ(verdict_on(rule, "HTTP/1.1 200 OK\r\n"), "good");
  EXPECT_EQ(verdict_on(rule, "HTTP/1.0 399\r\n"), "good");
  EXPECT_EQ(verdict_on(rule, "HTTP/1.1 503 Service Unavailable\r\n"), "status 503");
  EXPECT_EQ(verdict_on(rule, "HTTP/1.1 400 Bad\r\n"), "status 400");
  for (const char* wrong : {"HTTP/2 200 OK\r\n", "SSH-2.0-x\r\n", "HTTP/1.1 2000 x",
                            "HTTP/1.1-200 x", "HTTP/1.1  20 OK", "HTTP/1.1 +20 OK", "x"}) {
    EXPECT_EQ(verdict_on(rule, wrong), "no HTTP/1 answer") << wrong;
  }
}

// However the answer is cut, each part that is not yet enough asks for more.
TEST(JudgeAnswer, WaitsForTheWholeStatus) {
  const std::string answer = "HTTP/1.1 204 No Content\r\n";
  for (std::size_t size = 0; size < answer.size(); ++size) {
    EXPECT_EQ(verdict_on(http_check(), answer.substr(0, size)), size < 13 ? "more" : "good")
        << size;
  }
}

TEST(JudgeAnswer, TakesTheRangeOfTheRule) {
  HealthCheck rule = http_check();
  rule.lowest_status = rule.highest_status = 204;
  EXPECT_EQ(verdict_on(rule, "HTTP/1.1 204 \r\n"), "good");
  EXPECT_EQ(verdict_on(rule, "HTTP/1.1 200 \r\n"), "status 200");
}

TEST(JudgeAnswer, FindsTheExpectedTextWithinABound) {
  const HealthCheck rule = text_check("", "PONG");
  EXPECT_EQ(verdict_on(rule, ""), "more");
  EXPECT_EQ(verdict_on(rule, "+PON"), "more");
  EXPECT_EQ(verdict_on(rule, "+PONG\r\n"), "good");
  EXPECT_EQ(verdict_on(rule, std::string(16'383, 'x')), "more");
  EXPECT_EQ(verdict_on(rule, std::string(16'384, 'x')), "\"expect\" did not come");
}

TEST(QuestionOf, NamesTheHostThatTheRuleTheLabelOrTheTargetGives) {
  HealthCheck rule = http_check();
  rule.path = "/live";
  const auto host = [&](const Endpoint& endpoint) {
    const std::string question = question_of(rule, endpoint);
    EXPECT_TRUE(question.starts_with("GET /live HTTP/1.1\r\n")) << question;
    EXPECT_TRUE(question.ends_with("\r\n\r\n")) << question;
    const std::size_t at = question.find("\r\nHost: ") + 8;
    return question.substr(at, question.find("\r\n", at) - at);
  };
  EXPECT_EQ(host(endpoint_at("10.0.0.1:80")), "10.0.0.1:80");
  EXPECT_EQ(host(endpoint_at("unix:/x")), "localhost");
  EXPECT_EQ(host(endpoint_at("10.0.0.1:80", {.tls_name = "a.example"})), "a.example");
  rule.host = "b.example";
  EXPECT_EQ(host(endpoint_at("10.0.0.1:80", {.tls_name = "a.example"})), "b.example");
}

using CheckEndpoint = CheckFixture;

TEST_F(CheckEndpoint, ByTcpNeedsAConnectAndNoMore) {
  const HealthCheck rule{.type = Type::kTcp, .timeout = 60s};
  const test::Backend backend(test::stall());
  EXPECT_EQ(check(rule, backend.address()), "good");
  const test::RefusingAddress refusing;
  EXPECT_EQ(check(rule, refusing.address()), "connect: ECONNREFUSED");
  EXPECT_TRUE(heard_) << "a refusal is an answer";
  EXPECT_EQ(check(rule, "unix:/nowhere/x.sock"), "connect: ENOENT");
}

TEST_F(CheckEndpoint, KeepsTheSocketOfAConnectionThatItMayReset) {
  const test::Backend backend(test::http_server("body"));
  EXPECT_EQ(check({.type = Type::kTcp, .timeout = 60s}, backend.address()), "good");
  EXPECT_EQ(sockets_.size(), 1U);
  EXPECT_EQ(check(http_check(), backend.address()), "good");
  EXPECT_EQ(sockets_.size(), 1U);
  opening_.header = std::as_bytes(std::span(std::string_view("LOCAL")));
  EXPECT_EQ(check({.type = Type::kTcp, .timeout = 60s}, backend.address()), "good");
  EXPECT_EQ(sockets_.size(), 0U) << "a reset would overtake what was sent";
}

TEST_F(CheckEndpoint, GivesUpASilentOne) {
  const test::SilentAddress silent;
  EXPECT_EQ(check({.type = Type::kTcp, .timeout = 100ms}, silent.address()), "timeout");
  EXPECT_FALSE(heard_);
  const test::Backend stalled(test::stall());
  EXPECT_EQ(check({.type = Type::kHttp, .timeout = 100ms}, stalled.address()), "timeout");
}

TEST_F(CheckEndpoint, ByHttpAsksAServer) {
  const test::Backend backend(test::http_server("body"));
  EXPECT_EQ(check(http_check(), backend.address()), "good");
  HealthCheck other = http_check();
  other.lowest_status = other.highest_status = 418;
  EXPECT_EQ(check(other, backend.address()), "status 200");
  const test::Backend closes([](test::Fd& socket) {
    std::string request(4096, '\0');
    [[maybe_unused]] const auto read = ::recv(socket.get(), request.data(), request.size(), 0);
  });
  EXPECT_EQ(check(http_check(), closes.address()), "closed without a status");
  EXPECT_TRUE(heard_);
}

TEST_F(CheckEndpoint, BySendExpectTakesPartInTheProtocol) {
  const test::Backend backend(test::echo());
  EXPECT_EQ(check(text_check("PING\r\n", "PING"), backend.address()), "good");
  const test::Backend speaks_first(test::named("220 mail"));
  EXPECT_EQ(check(text_check("", "220 "), speaks_first.address()), "good");
}

TEST_F(CheckEndpoint, MayAskAtAnotherPort) {
  const test::Backend backend(test::stall());
  const test::RefusingAddress target;
  HealthCheck rule{.type = Type::kTcp, .timeout = 60s};
  rule.port = iouring::SocketAddress::parse(backend.address())->port();
  EXPECT_EQ(check(rule, target.address()), "good");
}

TEST_F(CheckEndpoint, SendsItsOpeningFirstAndWhole) {
  const HealthCheck silent{
      .type = Type::kSendExpect, .timeout = 500ms, .send = "PING", .expect = "x"};
  for (const HealthCheck& rule : {HealthCheck{.type = Type::kTcp, .timeout = 60s}, silent}) {
    test::Transcript heard;
    const test::Backend backend([&heard](test::Fd& socket) { test::listener(heard)(socket); });
    opening_.header = std::as_bytes(std::span(std::string_view("LOCAL")));
    [[maybe_unused]] const std::string found = check(rule, backend.address());
    heard.wait_end();
    EXPECT_EQ(heard.data(), rule.type == Type::kTcp ? "LOCAL" : "LOCALPING");
  }
}

TEST_F(CheckEndpoint, KnowsNothingOnceItsScopeIsCancelled) {
  const test::Backend backend(test::stall());
  const HealthCheck rule = http_check();
  const Endpoint endpoint = endpoint_at(backend.address());
  iouring::CancelScope scope;
  scope.cancel();
  std::optional<CheckOutcome> outcome;
  const auto in_cancelled = [](iouring::CancelScope& its,
                               iouring::Task<void> task) -> iouring::Task<void> {
    co_await iouring::in_scope(its, std::move(task));
  };
  ring_->run(in_cancelled(scope, check_into(tools_, rule, endpoint, outcome, opening_)));
  EXPECT_EQ(outcome->result, CheckResult::kUnknown);
}

}  // namespace
}  // namespace sallyport::gateway
