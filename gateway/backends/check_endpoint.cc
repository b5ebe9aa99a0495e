#include "gateway/backends/check_endpoint.h"

#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <span>
#include <utility>

#include "gateway/backends/is_our_own.h"
#include "gateway/policy/number.h"
#include "iouring/cancel.h"
#include "iouring/deadline.h"
#include "ktls/records/chunk.h"
#include "ktls/records/received.h"
#include "ktls/records/record_error.h"

namespace sallyport::gateway {
namespace {

using std::chrono::milliseconds;

// As much of an answer as is looked at.
constexpr std::size_t kMostReceived = 16'384;
constexpr std::string_view kHttpVersion = "HTTP/1.";
constexpr std::size_t kStatusAt = 9;  // "HTTP/1.1 200"
constexpr std::size_t kStatusDigits = 3;
// A time limit that is noticed so much too late says that this thread did not run.
constexpr milliseconds kStoodStill{500};

CheckOutcome success() {
  return {.result = CheckResult::kSuccess, .why = {}, .heard = true};
}

CheckOutcome failure(std::string why) {
  return {.result = CheckResult::kFailure, .why = std::move(why), .heard = true};
}

// No answer at all: from here to there, or from here on.
bool is_silence(int error) {
  return error == ETIMEDOUT || error == ENETUNREACH || error == EHOSTUNREACH || error == ENETDOWN ||
         error == EHOSTDOWN;
}

CheckOutcome failed(std::string_view doing, iouring::Errno error) {
  CheckOutcome outcome = failure(std::string(doing) + ": " + error.name());
  const bool local = is_local(error.value) || error.value == ECANCELED;
  outcome.heard = !local && !is_silence(error.value);
  if (local) outcome.result = CheckResult::kUnknown;
  return outcome;
}

CheckOutcome failed(std::string_view doing, const ktls::RecordError& error) {
  if (error.sys_errno != 0) return failed(doing, iouring::Errno{error.sys_errno});
  return failure(std::string(doing) + ": " + text_of(error));
}

CheckOutcome failed(const OpeningFailure& opening) {
  if (!opening.tls) return failed("TLS handshake", iouring::Errno{opening.sys_errno});
  std::string why(to_string(refusal_of_backend(opening.tls->result)));
  if (!opening.tls->detail.empty()) why += ": " + opening.tls->detail;
  return failure(std::move(why));
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

CheckOutcome ended_early(const HealthCheck& rule) {
  return failure(rule.type == HealthCheck::Type::kHttp ? "closed without a status"
                                                       : "closed, and \"expect\" did not come");
}

iouring::Task<CheckOutcome> receive_answer(iouring::Socket& socket, const HealthCheck& rule) {
  std::string received;
  std::array<std::byte, 1024> room;
  while (true) {
    iouring::Result<std::size_t> count = co_await socket.recv(room);
    if (!count) co_return failed("receive", count.error());
    if (*count == 0) co_return ended_early(rule);
    received.append(reinterpret_cast<const char*>(room.data()), *count);
    if (auto outcome = judge_answer(rule, received)) co_return *std::move(outcome);
  }
}

iouring::Task<CheckOutcome> receive_answer(ktls::RecordLayer& records, const HealthCheck& rule) {
  std::string received;
  while (true) {
    ktls::Received more = co_await records.receive();
    if (more.kind == ktls::Received::Kind::kFailed) co_return failed("receive", more.error);
    if (more.kind != ktls::Received::Kind::kData) co_return ended_early(rule);
    for (const iovec& each : more.data())
      received.append(static_cast<const char*>(each.iov_base), each.iov_len);
    if (auto outcome = judge_answer(rule, received)) co_return *std::move(outcome);
  }
}

iouring::SocketAddress address_of(const HealthCheck& rule, const Endpoint& endpoint) {
  if (!rule.port || endpoint.address.is_unix()) return endpoint.address;
  return endpoint.address.with_port(*rule.port);
}

iouring::Task<CheckOutcome> ask_over_tls(const CheckTools& tools, const CheckTls& tls,
                                         const HealthCheck& rule, const Endpoint& endpoint,
                                         iouring::Socket socket) {
  auto opened = co_await verified_records(tools.tls, tls, rule, endpoint, std::move(socket));
  if (!opened) co_return failed(opened.error());
  ktls::RecordLayer& records = **opened;
  if (rule.type == HealthCheck::Type::kTcp) {
    auto refused = co_await refused_behind_handshake(tools.sockets.ring(), records);
    co_return refused ? failure("backend_tls_failed: " + *refused) : success();
  }
  const std::string question = question_of(rule, endpoint);
  auto sent = co_await records.send(ktls::Chunk::borrowed(bytes_of(question)));
  if (!sent) co_return failed("send", sent.error());
  CheckOutcome outcome = co_await receive_answer(records, rule);
  tools.sockets.reset(std::move(records.socket()), endpoint.address.family(),
                      iouring::FirstBytes::kAtOnce);
  co_return outcome;
}

iouring::Task<CheckOutcome> ask_in_plaintext(const HealthCheck& rule, const Endpoint& endpoint,
                                             iouring::Socket& socket) {
  const std::string question = question_of(rule, endpoint);
  if (!question.empty()) {
    iouring::Result<> sent = co_await socket.send_all(bytes_of(question));
    if (!sent) co_return failed("send", sent.error());
  }
  CheckOutcome outcome = co_await receive_answer(socket, rule);
  co_return outcome;
}

iouring::Task<CheckOutcome> ask(const CheckTools& tools, const HealthCheck& rule,
                                const Endpoint& endpoint, CheckOpening opening) {
  const bool by_tcp = rule.type == HealthCheck::Type::kTcp;
  const bool has_header = !opening.header.empty();
  const bool waits = rule.type == HealthCheck::Type::kSendExpect && rule.send.empty() &&
                     !has_header && opening.tls == nullptr;
  // What follows the connect at once is here the reset, too: the peer's kernel, which has no
  // acknowledgement yet, then wakes no application for a check by tcp.
  const auto first = waits ? iouring::FirstBytes::kLater : iouring::FirstBytes::kAtOnce;
  iouring::Result<iouring::Socket> socket =
      co_await tools.sockets.connect(address_of(rule, endpoint), first);
  if (!socket) co_return failed("connect", socket.error());
  if (has_header) {
    iouring::Result<> sent = co_await socket->send_all(opening.header);
    if (!sent) co_return failed("send", sent.error());
  }
  CheckOutcome outcome = success();
  if (opening.tls != nullptr) {
    outcome = co_await ask_over_tls(tools, *opening.tls, rule, endpoint, *std::move(socket));
    co_return outcome;
  }
  if (!by_tcp) outcome = co_await ask_in_plaintext(rule, endpoint, *socket);
  // A reset, so that no address stays in TIME_WAIT for each check; but it would overtake what was
  // sent and not answered.
  if (!by_tcp || !has_header)
    tools.sockets.reset(*std::move(socket), endpoint.address.family(), first);
  co_return outcome;
}

}  // namespace

std::string question_of(const HealthCheck& rule, const Endpoint& endpoint) {
  if (rule.type == HealthCheck::Type::kTcp) return {};
  if (rule.type == HealthCheck::Type::kSendExpect) return rule.send;
  const std::string& tls_name = endpoint.labels->tls_name;
  const std::string host = !rule.host.empty()           ? rule.host
                           : !tls_name.empty()          ? tls_name
                           : endpoint.address.is_unix() ? "localhost"
                                                        : endpoint.target;
  return "GET " + rule.path + " HTTP/1.1\r\nHost: " + host +
         "\r\nUser-Agent: sallyport-check\r\nAccept: */*\r\nConnection: close\r\n\r\n";
}

std::optional<CheckOutcome> judge_answer(const HealthCheck& rule, std::string_view received) {
  if (rule.type == HealthCheck::Type::kTcp) return success();
  if (rule.type == HealthCheck::Type::kSendExpect) {
    if (received.find(rule.expect) != std::string_view::npos) return success();
    if (received.size() >= kMostReceived) return failure("\"expect\" did not come");
    return std::nullopt;
  }
  const std::string_view version = received.substr(0, kHttpVersion.size());
  if (version != kHttpVersion.substr(0, version.size())) return failure("no HTTP/1 answer");
  if (received.size() < kStatusAt + kStatusDigits + 1) return std::nullopt;
  const auto status = parse_number<unsigned>(received.substr(kStatusAt, kStatusDigits));
  const char behind = received[kStatusAt + kStatusDigits];
  const bool ends = behind == ' ' || behind == '\r' || behind == '\n';
  if (received[kStatusAt - 1] != ' ' || !status || !ends) return failure("no HTTP/1 answer");
  if (*status < rule.lowest_status || *status > rule.highest_status)
    return failure("status " + std::to_string(*status));
  return success();
}

iouring::Task<CheckOutcome> check_endpoint(const CheckTools& tools, const HealthCheck& rule,
                                           const Endpoint& endpoint, CheckOpening opening) {
  iouring::CancelScope* const caller = co_await iouring::current_scope();
  iouring::CancelScope scope(caller);
  iouring::Ring& ring = tools.sockets.ring();
  iouring::Deadline deadline(ring, scope);
  const auto began = ring.now();
  deadline.arm(rule.timeout);
  CheckOutcome outcome = co_await iouring::in_scope(scope, ask(tools, rule, endpoint, opening));
  const bool cancelled = outcome.result == CheckResult::kUnknown && deadline.expired();
  if (!cancelled || (caller != nullptr && caller->cancelled())) co_return outcome;
  if (ring.now() - began > rule.timeout + kStoodStill) {
    outcome.why = "the checker stood still";
    co_return outcome;
  }
  co_return CheckOutcome{.result = CheckResult::kFailure, .why = "timeout", .heard = false};
}

}  // namespace sallyport::gateway
