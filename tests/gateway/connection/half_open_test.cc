// A peer that is gone without a word while something is under way to it, and one that only does not
// read.
#include <linux/filter.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <optional>
#include <string>

#include "gateway/connection/relay_look.h"
#include "iouring/deadline.h"
#include "tests/gateway/connection/relay_fixture.h"

namespace sallyport::gateway {
namespace {

using std::chrono::milliseconds;

class HalfOpen : public RelayTest {
 protected:
  void SetUp() override {
    timeouts_.owes = milliseconds(600);
    RelayTest::SetUp();
  }
};

// From here on the socket's kernel drops every segment that comes, and so acknowledges nothing.
void fall_silent(const iouring::Socket& socket) {
  sock_filter drop[] = {{.code = BPF_RET | BPF_K, .jt = 0, .jf = 0, .k = 0}};
  const sock_fprog program{.len = 1, .filter = drop};
  EXPECT_EQ(
      ::setsockopt(socket.descriptor(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program), 0);
}

Task<void> make_rounds_until_ended(LiveConnection& connection, int& rounds) {
  while (connection.relay() != nullptr) {
    look_at(connection);
    ++rounds;
    iouring::Result<> slept =
        co_await iouring::sleep_for(connection.shard().ring, milliseconds(100));
    EXPECT_TRUE(slept);
  }
}

Task<void> send_to_the_dead(ktls::RecordLayer& from, Layer& to, LiveConnection& connection,
                            int& rounds) {
  fall_silent(to->socket());
  co_await ktls::testing::send_one(from, 100);
  co_await make_rounds_until_ended(connection, rounds);
  to->socket().reset();
}

TEST_F(HalfOpen, EndsWhenABackendOwesAnAcknowledgementInTwoRounds) {
  int rounds = 0;
  run(send_to_the_dead(*client_peer_, backend_peer_, *connection_, rounds));
  EXPECT_EQ(reason_, CloseReason::kBackendReset);
  EXPECT_GE(rounds, 7) << "not before its time";
}

TEST_F(HalfOpen, EndsWhenAClientOwesAnAcknowledgementInTwoRounds) {
  int rounds = 0;
  run(send_to_the_dead(*backend_peer_, client_peer_, *connection_, rounds));
  EXPECT_EQ(reason_, CloseReason::kClientReset);
  EXPECT_GE(rounds, 7) << "not before its time";
}

// Milliseconds between two probes of a window in the end; nothing before Linux 6.15.
std::optional<int> rto_max(const iouring::Socket& socket) {
  constexpr int kRtoMaxMs = 44;  // TCP_RTO_MAX_MS
  int value = 0;
  socklen_t size = sizeof value;
  const int got = ::getsockopt(socket.descriptor(), IPPROTO_TCP, kRtoMaxMs, &value, &size);
  return got == 0 ? std::optional(value) : std::nullopt;
}

Task<void> send_to_one_that_does_not_read(Layer& client, Layer& backend, LiveConnection& connection,
                                          const iouring::Socket& our_backend,
                                          std::optional<int>& rto_max_ms) {
  const Bytes data = ktls::testing::random_bytes(16'000'000, 1);
  iouring::CancelScope sending;
  iouring::Deadline enough(client->socket().ring(), sending);
  enough.arm(milliseconds(300));
  co_await iouring::in_scope(sending, ktls::testing::send_what_it_takes(*client, data));
  for (int round = 0; round < 10; ++round) {
    look_at(connection);
    iouring::Result<> slept =
        co_await iouring::sleep_for(client->socket().ring(), milliseconds(100));
    EXPECT_TRUE(slept);
  }
  EXPECT_NE(connection.relay(), nullptr) << "its kernel answers the probes of its window";
  rto_max_ms = rto_max(our_backend);
  client->socket().reset();
  backend->socket().reset();
}

TEST_F(HalfOpen, LeavesAReaderAloneThatDoesNotReadAndProbesItsWindow) {
  const bool settable = rto_max(backend_->socket()).has_value();
  std::optional<int> rto_max_ms;
  run(send_to_one_that_does_not_read(client_peer_, backend_peer_, *connection_, backend_->socket(),
                                     rto_max_ms));
  if (settable) EXPECT_EQ(rto_max_ms, 30'000);
}

enum class Leaves { kByReset, kByResetWithoutHalfCloseTimeout, kByFin };

class LeftBehindAStuckBackend : public HalfOpen, public ::testing::WithParamInterface<Leaves> {
 protected:
  void SetUp() override {
    const bool timed = GetParam() != Leaves::kByResetWithoutHalfCloseTimeout;
    timeouts_.half_close = milliseconds(timed ? 50 : 0);
    timeouts_.lingering = milliseconds(50);
    HalfOpen::SetUp();
    timeouts_.owes = std::chrono::minutes(1);  // on a slow machine the client's end may take long
    const int size = 1;
    for (const Layer* each : {&backend_, &backend_peer_}) {
      const int descriptor = (*each)->socket().descriptor();
      EXPECT_EQ(::setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
      EXPECT_EQ(::setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, sizeof size), 0);
    }
    // All that the client sends fits without being read: its end would wait behind what does not.
    const int enough = 1'000'000;
    EXPECT_EQ(::setsockopt(client_->records->socket().descriptor(), SOL_SOCKET, SO_RCVBUF, &enough,
                           sizeof enough),
              0);
  }

  // The backend reads nothing: nothing is received from the client behind what it does not take.
  Task<void> leave() {
    const Bytes data = ktls::testing::random_bytes(200'000, 1);
    co_await ktls::testing::send_what_it_takes(*client_peer_, data);
    iouring::Socket& client = client_peer_->socket();
    if (GetParam() != Leaves::kByFin) {
      // Not before the gateway has it: a reset throws away what waits to be sent.
      while (connection_->received_bytes() == 0) co_await next_iteration(*shard_.ring);
      client.reset();
    } else {
      iouring::Result<> shut = co_await client.shutdown_write();
      EXPECT_TRUE(shut);
    }
    int rounds = 0;
    co_await make_rounds_until_ended(*connection_, rounds);
    backend_peer_->socket().reset();
  }
};

TEST_P(LeftBehindAStuckBackend, IsNoticedInARound) {
  run(leave());
  EXPECT_EQ(reason_, GetParam() == Leaves::kByFin ? CloseReason::kHalfCloseTimeout
                                                  : CloseReason::kClientReset);
}

std::string name_of_leaving(const ::testing::TestParamInfo<Leaves>& info) {
  constexpr const char* kWords[] = {"ThatReset", "ThatResetWithoutHalfCloseTimeout", "ThatEnded"};
  return kWords[static_cast<int>(info.param)];
}

INSTANTIATE_TEST_SUITE_P(AClient, LeftBehindAStuckBackend,
                         ::testing::Values(Leaves::kByReset,
                                           Leaves::kByResetWithoutHalfCloseTimeout, Leaves::kByFin),
                         name_of_leaving);

}  // namespace
}  // namespace sallyport::gateway
