// What each side is told for each reason, in each phase, with each model of records: neither gets a
// clean end that the other did not give, but for a client at a quiet moment.
#include <optional>
#include <ostream>
#include <string>
#include <tuple>

#include "gateway/connection/quiet_moment.h"
#include "gateway/connection/relay_end.h"
#include "iouring/deadline.h"
#include "iouring/task_group.h"
#include "tests/gateway/connection/relay_fixture.h"

namespace sallyport::gateway {
namespace {

using ktls::RecordModel;
using std::chrono::milliseconds;

enum class Cause {
  kBackendEnd,
  kBackendReset,
  kBackendTruncated,  // a FIN without close_notify; such a backend speaks TLS, as the next two
  kBackendOffence,    // against the record protocol
  kBackendAlert,
  kClientReset,
  kClientTruncated,
  kDrainAsked,     // to end at a quiet moment
  kDrainDeadline,  // now
  kHalfCloseTimeout,
  kIdleTimeout,
  kInternalError,
  kLifetime,
  kOffence,  // of the client, against the record protocol
  kRevoked,
  kExpiredAsked,       // to end at a quiet moment
  kRouteGoneDeadline,  // now
};
enum class BackendLeg { kPlain, kTls };
enum class Phase { kIdle, kMidRequest, kMidResponse, kHalfClosed };

std::string to_string(Cause cause) {
  constexpr const char* kWords[] = {
      "BackendEnd",   "BackendReset",     "BackendTruncated", "BackendOffence", "BackendAlert",
      "ClientReset",  "ClientTruncated",  "DrainAsked",       "DrainDeadline",  "HalfClose",
      "IdleTimeout",  "InternalError",    "Lifetime",         "Offence",        "Revoked",
      "ExpiredAsked", "RouteGoneDeadline"};
  return kWords[static_cast<int>(cause)];
}
std::string to_string(Phase phase) {
  constexpr const char* kWords[] = {"Idle", "MidRequest", "MidResponse", "HalfClosed"};
  return kWords[static_cast<int>(phase)];
}

using Case = std::tuple<Cause, Phase, RecordModel, BackendLeg>;

std::string name_of_end(const ::testing::TestParamInfo<Case>& info) {
  const auto [cause, phase, model, leg] = info.param;
  return to_string(cause) + to_string(phase) +
         (model == RecordModel::kKernel ? "Kernel" : "Userspace") +
         (leg == BackendLeg::kTls ? "ToTls" : "");
}

class RelayEnds : public RelayTest, public ::testing::WithParamInterface<Case> {
 protected:
  void SetUp() override {
    timeouts_.still = milliseconds(20);
    switch (cause()) {
      case Cause::kIdleTimeout:
        timeouts_.idle = milliseconds(500);
        timeouts_.half_close = milliseconds(0);  // where it is on, it takes the place of the other
        break;
      case Cause::kHalfCloseTimeout:
        timeouts_.half_close = milliseconds(500);
        break;
      case Cause::kLifetime:
        // Behind reach_phase(), on a slow machine, too.
        timeouts_.lifetime = milliseconds(phase() == Phase::kMidResponse ? 6'000 : 1'500);
        break;
      default:
        break;
    }
    RelayTest::SetUp();
    if (to_tls()) with_tls_to_backend();
  }

  static Cause cause() { return std::get<Cause>(GetParam()); }
  static bool to_tls() { return std::get<BackendLeg>(GetParam()) == BackendLeg::kTls; }
  static Phase phase() { return std::get<Phase>(GetParam()); }

  Task<void> play();
  Task<void> reach_phase(iouring::TaskGroup& beside);
  Task<void> bring_about();
  Task<void> hear_both();

  static Kind expected_by_client();
  static std::optional<CloseReason> reason_of_backend();

  Story client_heard_, backend_heard_;
  std::uint64_t sent_before_ = 0;
  const Bytes response_ = ktls::testing::random_bytes(16'000'000, 1);
};

constexpr std::size_t kRequest = 100;
// That nobody can open.
const Bytes kNoRecord =
    ktls::testing::from_hex("1703030014000102030405060708090a0b0c0d0e0f10111213");

Task<void> receive_all_of(ktls::RecordLayer& layer, std::size_t size) {
  while (size > 0) {
    ktls::Received some = co_await layer.receive();
    if (some.kind != Kind::kData) co_return;
    size -= std::min(size, some.size());
  }
}

Task<void> RelayEnds::reach_phase(iouring::TaskGroup& beside) {
  co_await ktls::testing::send_one(*client_peer_, kRequest);
  co_await receive_all_of(*backend_peer_, kRequest);
  switch (phase()) {
    case Phase::kIdle:
      co_await ktls::testing::send_one(*backend_peer_, kRequest);
      co_await receive_all_of(*client_peer_, kRequest);
      break;
    case Phase::kMidRequest:
      break;
    case Phase::kMidResponse: {
      beside.spawn(ktls::testing::send_what_it_takes(*backend_peer_, response_));
      // The client takes nothing: until everything between is full.
      std::uint64_t before = 0;
      do {
        before = connection_->facts().sent_bytes;
        co_await ktls::testing::iterate(*shard_.ring, 50);
      } while (before == 0 || before != connection_->facts().sent_bytes);
      break;
    }
    case Phase::kHalfClosed: {
      co_await ktls::testing::close_it(*client_peer_);
      const ktls::Received end = co_await backend_peer_->receive();
      EXPECT_EQ(end.kind, to_tls() ? Kind::kCloseNotify : Kind::kEndOfStream);
      break;
    }
  }
}

Task<void> RelayEnds::bring_about() {
  sent_before_ = connection_->facts().sent_bytes;
  switch (cause()) {
    case Cause::kBackendEnd:
      co_await ktls::testing::close_it(*backend_peer_);
      break;
    case Cause::kBackendReset:
      backend_peer_->socket().reset();
      break;
    case Cause::kBackendTruncated: {
      iouring::Result<> shut = co_await backend_peer_->socket().shutdown_write();
      EXPECT_TRUE(shut);
      break;
    }
    case Cause::kBackendOffence: {
      iouring::Result<> sent = co_await backend_peer_->socket().send_all(kNoRecord);
      EXPECT_TRUE(sent);
      break;
    }
    case Cause::kBackendAlert: {
      const auto sent = co_await backend_peer_->send_alert(ktls::AlertDescription::kUnknownCa);
      EXPECT_TRUE(sent);
      break;
    }
    case Cause::kClientReset:
      client_peer_->socket().reset();
      break;
    case Cause::kClientTruncated: {
      iouring::Result<> shut = co_await client_peer_->socket().shutdown_write();
      EXPECT_TRUE(shut);
      break;
    }
    case Cause::kOffence: {
      iouring::Result<> sent = co_await client_peer_->socket().send_all(kNoRecord);
      EXPECT_TRUE(sent);
      break;
    }
    case Cause::kRevoked:
      end_with_alert(*connection_, CloseReason::kRevoked);
      break;
    case Cause::kDrainAsked:
    case Cause::kExpiredAsked: {
      const CloseReason reason = cause() == Cause::kDrainAsked ? CloseReason(CloseReason::kDrain)
                                                               : CloseReason(CloseReason::kExpired);
      end_when_quiet(*connection_, reason);
      iouring::Result<> slept = co_await iouring::sleep_for(*shard_.ring, 10 * timeouts_.still);
      EXPECT_TRUE(slept);
      EXPECT_EQ(connection_->relay() != nullptr, phase() != Phase::kIdle) << "goes on unless quiet";
      connection_->end(reason);
      break;
    }
    case Cause::kDrainDeadline:
    case Cause::kRouteGoneDeadline: {
      iouring::Result<> slept = co_await iouring::sleep_for(*shard_.ring, 10 * timeouts_.still);
      EXPECT_TRUE(slept);
      connection_->end(cause() == Cause::kDrainDeadline ? CloseReason(CloseReason::kDrain)
                                                        : CloseReason(CloseReason::kRouteGone));
      break;
    }
    case Cause::kInternalError:
      connection_->end(CloseReason::kInternalError);
      break;
    default:  // comes by itself
      while (connection_->relay() != nullptr) {
        iouring::Result<> slept = co_await iouring::sleep_for(*shard_.ring, milliseconds(5));
        EXPECT_TRUE(slept);
      }
      break;
  }
}

Task<void> RelayEnds::hear_both() {
  if (client_peer_->socket()) co_await ktls::testing::tell(*client_peer_, client_heard_);
  client_peer_->socket() = iouring::Socket();
  if (backend_peer_->socket()) co_await ktls::testing::tell(*backend_peer_, backend_heard_);
}

Task<void> RelayEnds::play() {
  iouring::TaskGroup beside(*shard_.ring);
  co_await reach_phase(beside);
  beside.cancel_all();
  co_await beside.join();
  co_await bring_about();
  co_await hear_both();
}

Kind RelayEnds::expected_by_client() {
  switch (cause()) {
    case Cause::kBackendEnd:
      return Kind::kCloseNotify;
    case Cause::kBackendReset:
      return Kind::kFailed;
    case Cause::kOffence:  // an alert, where there is room for one
      return phase() == Phase::kMidResponse ? Kind::kTruncated : Kind::kFailed;
    case Cause::kRevoked:
      return Kind::kFailed;
    case Cause::kDrainAsked:
    case Cause::kDrainDeadline:
    case Cause::kExpiredAsked:
    case Cause::kRouteGoneDeadline:
    case Cause::kLifetime:
      return phase() == Phase::kIdle ? Kind::kCloseNotify : Kind::kTruncated;
    default:
      return Kind::kTruncated;
  }
}

std::optional<CloseReason> RelayEnds::reason_of_backend() {
  switch (cause()) {
    case Cause::kBackendTruncated:
      return CloseReason::kBackendTruncated;
    case Cause::kBackendOffence:
      return CloseReason::kBackendRecordError;
    case Cause::kBackendAlert:
      return CloseReason::kBackendAlert;
    default:
      return std::nullopt;
  }
}

TEST_P(RelayEnds, TellBothSidesTheTruth) {
  if (std::get<RecordModel>(GetParam()) == RecordModel::kKernel) {
    SALLYPORT_NEEDS_KTLS();
    client_->records = ktls::testing::into_kernel(std::move(client_->records), shard_.pools());
    if (to_tls()) {
      backend_ =
          ktls::testing::into_kernel(std::move(backend_), shard_.pools(), ktls::Role::kClient);
    }
  }
  run(play());

  if (const auto expected = reason_of_backend())
    EXPECT_EQ(to_string(reason_), to_string(*expected));
  if (cause() != Cause::kClientReset) {
    EXPECT_EQ(ktls::testing::to_string(client_heard_.end),
              ktls::testing::to_string(expected_by_client()));
  }
  if (phase() == Phase::kMidResponse && cause() != Cause::kBackendReset &&
      cause() != Cause::kClientReset) {
    EXPECT_GE(client_heard_.data.size(), sent_before_) << "what was sent before is delivered";
  }
  if (cause() == Cause::kBackendReset || phase() == Phase::kHalfClosed) return;
  // A send that was under way may have found the reset: what is received then is an end, which is
  // no clean one where there is TLS.
  if (backend_heard_.end != Kind::kTruncated || !to_tls()) {
    EXPECT_EQ(ktls::testing::to_string(backend_heard_.end),
              ktls::testing::to_string(Kind::kFailed));
  }
  const bool kernel = std::get<RecordModel>(GetParam()) == RecordModel::kKernel;
  if (cause() == Cause::kBackendOffence && !kernel)  // that gives up the whole socket
    EXPECT_EQ(backend_heard_.error.failure, ktls::RecordFailure::kAlertReceived);
}

bool exists(const Case& each) {
  const bool half_closed = std::get<Phase>(each) == Phase::kHalfClosed;
  const bool tls = std::get<BackendLeg>(each) == BackendLeg::kTls;
  // A send that was stopped has left half of one: then a backend can only be truncated.
  const bool mid_record = tls && std::get<Phase>(each) == Phase::kMidResponse;
  switch (std::get<Cause>(each)) {
    case Cause::kBackendTruncated:
      return tls;
    case Cause::kBackendAlert:
    case Cause::kBackendOffence:
      return tls && !mid_record;
    case Cause::kBackendEnd:
      return !mid_record;
    case Cause::kHalfCloseTimeout:
      return half_closed;
    case Cause::kClientReset:
    case Cause::kClientTruncated:
      return !half_closed;  // a client that ended cleanly does neither
    case Cause::kOffence:
      // Nor this. And the kernel gives up a socket for both directions at a record that it cannot
      // open: what it holds for the client is gone.
      return !half_closed && (std::get<RecordModel>(each) == RecordModel::kUserspace ||
                              std::get<Phase>(each) != Phase::kMidResponse);
    default:
      return true;
  }
}

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const Cause cause :
       {Cause::kBackendEnd, Cause::kBackendReset, Cause::kBackendTruncated, Cause::kBackendOffence,
        Cause::kBackendAlert, Cause::kClientReset, Cause::kClientTruncated, Cause::kDrainAsked,
        Cause::kDrainDeadline, Cause::kHalfCloseTimeout, Cause::kIdleTimeout, Cause::kInternalError,
        Cause::kLifetime, Cause::kOffence, Cause::kRevoked, Cause::kExpiredAsked,
        Cause::kRouteGoneDeadline}) {
    for (const Phase phase :
         {Phase::kIdle, Phase::kMidRequest, Phase::kMidResponse, Phase::kHalfClosed}) {
      for (const RecordModel model : {RecordModel::kUserspace, RecordModel::kKernel}) {
        for (const BackendLeg leg : {BackendLeg::kPlain, BackendLeg::kTls})
          if (const Case each(cause, phase, model, leg); exists(each)) cases.push_back(each);
      }
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(EveryReason, RelayEnds, ::testing::ValuesIn(all_cases()), name_of_end);

}  // namespace
}  // namespace sallyport::gateway
