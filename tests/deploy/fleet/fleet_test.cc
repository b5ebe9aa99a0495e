// A fleet does not lose what it need not lose: what a killed gateway has, it alone loses; a drain,
// an upgrade and a rotation of the ticket keys lose nothing.
#include "tests/deploy/fleet/fleet.h"

#include <algorithm>
#include <csignal>
#include <filesystem>

namespace sallyport::test {
namespace {

using Lines = std::map<std::string, Balancer::Line>;

bool any_redispatched(const Lines& lines) {
  return std::ranges::any_of(lines, [](const auto& line) { return line.second.redispatched; });
}

// Until HAProxy knows of it, connects that are refused go to another one.
TEST_F(Fleet, LosesTheConnectionsOfAKilledGatewayAndNoOther) {
  start_fleet();
  std::size_t held_ones = 0;
  Load load(kFront, as(client));
  for (int round = 0; round < rounds_of_fleet(); ++round) {
    load.wait_more(10);
    std::vector<TlsClient> held = hold(6, "127.0.2.1:0");
    held_ones += held.size();
    Member& victim = any_member();
    std::vector<TlsClient> hit;
    std::vector<TlsClient> spared;
    for (TlsClient& each : held) {
      (&member_of(each) == &victim ? hit : spared).push_back(std::move(each));
    }
    EXPECT_FALSE(hit.empty());

    kill(victim);
    balancer->wait_state(victim.name, "DOWN");
    load.wait_more(10);

    for (TlsClient& each : hit) {
      each.receive_all();
      EXPECT_TRUE(each.end() == TlsEnd::kReset || each.end() == TlsEnd::kTruncated)
          << to_string(each.end()) << ": nobody is told that it was the end";
    }
    for (TlsClient& each : spared) {
      EXPECT_TRUE(each.echo("still there")) << to_string(each.end());
      each.close_notify();
      each.receive_all();
      EXPECT_EQ(each.end(), TlsEnd::kCloseNotify);
    }
    start_member(victim);
    balancer->wait_state(victim.name, "UP");
  }
  load.wait_more(10);
  const std::vector<Outcome>& outcomes = load.stop();

  const Lines lines = expect_agreement(outcomes, held_ones);
  for (const Outcome& each : outcomes) {
    if (each.failure.empty()) continue;
    const std::string& server = lines.at(each.client).server;
    EXPECT_TRUE(was_before_a_death(each, server)) << server << ": " << each.client << each.failure;
  }
  EXPECT_TRUE(any_redispatched(lines)) << "none of them met the gap, so nothing was shown";
}

// It takes connections and answers none, like a machine that is gone: only the balancer can tell.
TEST_F(Fleet, CutsWhatAGatewayHasThatHangs) {
  start_fleet();
  std::vector<TlsClient> held = hold(kMembers, "127.0.2.1:0");
  Member& frozen = member_of(held.front());
  frozen.gateway->signal(SIGSTOP);
  balancer->wait_state(frozen.name, "DOWN");
  EXPECT_EQ(held.front().receive_all(), "");
  EXPECT_TRUE(held.front().end() == TlsEnd::kReset || held.front().end() == TlsEnd::kTruncated)
      << to_string(held.front().end());
  for (std::size_t i = 1; i < held.size(); ++i) {
    EXPECT_TRUE(held[i].echo("still there")) << to_string(held[i].end());
  }
  hold(kMembers, "127.0.2.1:0");
  frozen.gateway->signal(SIGCONT);
  balancer->wait_state(frozen.name, "UP");
}

// Ready is over at once, the doors are open until the balancer has noticed, and then those who are
// still there are asked to go, each when it is quiet.
TEST_F(Fleet, DrainsAGatewayWithoutAFailureOrAReset) {
  start_fleet();
  Load load(kFront, as(client));
  load.wait_more(10);
  std::vector<TlsClient> held = hold(6, "127.0.2.1:0");
  Member& leaving = any_member();
  std::vector<TlsClient> asked;
  std::vector<TlsClient> stay;
  for (TlsClient& each : held) {
    (&member_of(each) == &leaving ? asked : stay).push_back(std::move(each));
  }
  ASSERT_FALSE(asked.empty());

  leaving.gateway->signal(SIGTERM);
  wait_until("not ready", [&] { return !leaving.gateway->ready(); });
  // Of another balancer, which has not noticed yet.
  ClientOptions late = through_balancer(kElsewhere);
  {
    TlsClient tls(leaving.address, late);
    EXPECT_TRUE(tls.echo("late")) << to_string(tls.end()) << tls.tls_error();
    tls.close_notify();
    tls.receive_all();
    EXPECT_EQ(tls.end(), TlsEnd::kCloseNotify);
  }
  balancer->wait_state(leaving.name, "NOLB");
  load.wait_more(10);
  for (TlsClient& each : asked) EXPECT_TRUE(each.echo("not yet")) << "while it still accepts";

  for (TlsClient& each : asked) {
    EXPECT_EQ(each.receive_all(), "");
    EXPECT_EQ(each.end(), TlsEnd::kCloseNotify) << to_string(each.end());
  }
  asked.clear();
  EXPECT_EQ(retire(leaving).ended(0), "");
  balancer->wait_state(leaving.name, "DOWN");
  load.wait_more(10);
  for (TlsClient& each : stay) {
    EXPECT_TRUE(each.echo("still there")) << to_string(each.end());
    each.close_notify();
    each.receive_all();
  }
  stay.clear();
  const std::vector<Outcome>& outcomes = load.stop();
  EXPECT_EQ(failures(outcomes), "");
  EXPECT_FALSE(any_redispatched(expect_agreement(outcomes, held.size())));
  for (const LogLine& line : leaving.past.back()->connection_log()) {
    EXPECT_TRUE(line.at("reason") == "done" || line.at("reason") == "drain") << line.at("reason");
  }
}

TEST_F(Fleet, IsUpgradedOneByOneWithoutAFailure) {
  start_fleet();
  Load load(kFront, as(client));
  for (int round = 0; round < rounds_of_fleet(); ++round) {
    for (Member& each : members) {
      load.wait_more(10);
      each.gateway->signal(SIGTERM);
      EXPECT_EQ(retire(each).ended(0), "");
      start_member(each);
      balancer->wait_state(each.name, "UP");
      each.gateway->wait_metric("connections_accepted_total", {}, 1);
    }
  }
  load.wait_more(10);
  const std::vector<Outcome>& outcomes = load.stop();
  EXPECT_EQ(failures(outcomes), "");
  EXPECT_FALSE(any_redispatched(expect_agreement(outcomes, 0)));
}

// A client knows one address and no gateways: a ticket that only its own gateway could open would
// be worth a third.
TEST_F(Fleet, ResumesAtEachGatewayAlsoWhileTheTicketKeysRotate) {
  start_fleet();
  const auto resumes = [&](const Member& member, const std::shared_ptr<SSL_SESSION>& session) {
    ClientOptions options = through_balancer(kElsewhere);
    options.session = session;
    TlsClient tls(member.address, options);
    EXPECT_TRUE(tls.echo("ping")) << member.name << to_string(tls.end());
    tls.close_notify();
    tls.receive_all();
    return tls.resumed();
  };
  std::shared_ptr<SSL_SESSION> first;
  {
    TlsClient tls(members.front().address, through_balancer(kElsewhere));
    EXPECT_TRUE(tls.echo("ping"));
    first = tls.session();
    tls.close_notify();
    tls.receive_all();
  }
  for (const Member& each : members) EXPECT_TRUE(resumes(each, first)) << each.name;

  Load load(kFront, as(client));
  for (int round = 0; round < rounds_of_fleet(); ++round) {
    for (const char* const step : {"add", "switch"}) {
      ticket_keys(step);
      for (Member& each : members) {
        take_ticket_keys(each);
        load.wait_more(3);
      }
    }
    if (round == 0) {
      for (const Member& each : members) EXPECT_TRUE(resumes(each, first)) << each.name;
    }
    ticket_keys("remove");
    for (Member& each : members) {
      take_ticket_keys(each);
      load.wait_more(3);
    }
  }
  for (const Member& each : members) EXPECT_FALSE(resumes(each, first)) << "its secret is gone";

  const std::vector<Outcome>& outcomes = load.stop();
  EXPECT_EQ(failures(outcomes), "");
  std::size_t offered = 0;
  for (const Outcome& each : outcomes) {
    offered += each.offered ? 1 : 0;
    EXPECT_EQ(each.resumed, each.offered) << each.client;
  }
  EXPECT_GT(offered, outcomes.size() / 4);
  expect_agreement(outcomes, 0);
}

TEST_F(Fleet, KnowsEachClientsOwnAddressAndLimitsByItAtEachGateway) {
  constexpr std::size_t kEach = 2;
  start_fleet({"--max-connections-per-address", std::to_string(kEach)});
  std::vector<TlsClient> all = hold(kEach * kMembers, "127.0.2.1:0");
  for (TlsClient& each : all) {
    const Member& member = member_of(each);
    for (const LogLine& line : parse_objects(member.gateway->get("/connections").body)) {
      EXPECT_TRUE(line.at("client").starts_with("127.0.2.1:")) << line.at("client");
      EXPECT_TRUE(line.at("proxy").starts_with(kBalancer)) << line.at("proxy");
    }
  }
  {
    TlsClient one_more(kFront, through_balancer("127.0.2.1:0"));
    EXPECT_FALSE(one_more.connected());
    EXPECT_EQ(one_more.alert().value_or(-1), kInternalError);
  }
  double refused = 0;
  for (const Member& each : members) {
    // The refused one may still be on its way out.
    EXPECT_TRUE(eventually([&] {
      return each.gateway->metrics().sum("connections") == static_cast<double>(kEach);
    })) << "as many at each gateway";
    refused += each.gateway->metrics().sum("limit_reached_total",
                                           {{"limit", "max-connections-per-address"}});
  }
  EXPECT_EQ(refused, 1);
  hold(1, "127.0.2.2:0");
  for (TlsClient& each : all) {
    each.close_notify();
    each.receive_all();
  }
}

TEST_F(Fleet, TakesTheStepsOfARotationInTheirOrderOnly) {
  const std::string file = dir / "ticket-keys";
  const auto refused = [&](const std::string& step) {
    const Finished done = run({DEPLOY_FLEET "/ticket-keys", file, step});
    EXPECT_EQ(done.status, 1) << step;
    EXPECT_TRUE(done.err.starts_with("ticket-keys: ")) << done.err;
  };
  for (const char* const step : {"new", "switch", "remove", "steal"}) refused(step);
  ticket_keys("add");
  for (const char* const step : {"new", "add", "remove"}) refused(step);
  ticket_keys("switch");
  for (const char* const step : {"new", "add", "switch"}) refused(step);
  ticket_keys("remove");
  for (const char* const step : {"switch", "remove"}) refused(step);
  EXPECT_EQ(std::filesystem::status(file).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

}  // namespace
}  // namespace sallyport::test
