// All that judges a client says the same of it: a full handshake, one whose chain is in the cache,
// a resumed one, the judgement of a live connection and --explain; over hierarchies, lists, rules
// and changes at random, with fixed seeds that a failure names.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gateway/policy/judge.h"
#include "gateway/policy/route.h"
#include "gateway/run/explain.h"
#include "tests/gateway/run/trust_world.h"
#include "tests/ktls/handshake/loopback.h"

namespace sallyport::gateway::testing {
namespace {

using namespace std::chrono_literals;
using ktls::HandshakeResult;
using ktls::PeerTrust;
using ktls::testing::MemoryClient;
using ktls::testing::RoutedHandshake;
using Trust = std::shared_ptr<const PeerTrust>;

std::string word(HandshakeResult result) {
  return std::string(to_string(result));
}

std::string text_of(const LiveCauses& causes) {
  std::string text = "{";
  for (std::size_t i = 0; i < causes.size(); ++i)
    if (causes.test(i)) text += " " + std::string(kLiveCauseWords[i]);
  return text + " }";
}

/// A configuration in force: as a gateway has it, and as --explain reads it by itself.
struct Generation {
  Config config;
  Loaded gateway, reader;
  std::shared_ptr<ktls::ServerContext> context;  ///< with its cache of chains
};

/// What became of a connection.
struct Visit {
  HandshakeResult result = HandshakeResult::kUnknownFailure;
  Trust trust;  ///< null: not authenticated
  bool resumed = false;
  ktls::SslSessionPtr session;  ///< a ticket; null: none was given
};

std::shared_ptr<ktls::ServerContext> context_of(const Loaded& loaded) {
  return ktls::ServerContext::create(loaded.credentials, "one listener", ktls::testing::test_clock)
      .value();
}

// As serve() goes about it: the route, the handshake, the judgement, tickets.
Visit visit(const std::shared_ptr<ktls::ServerContext>& context, const Policy& policy,
            const Client& peer, SSL_SESSION* session = nullptr) {
  const Route* route = nullptr;
  RoutedHandshake server(
      context, [&](const ktls::ClientHello& hello) -> std::expected<std::string, HandshakeResult> {
        const auto choice = choose(policy, hello.sni, hello.alpn);
        if (!choice) return std::unexpected(choice.error());
        route = choice->route;
        return std::string(choice->alpn);
      });
  // A copy: OpenSSL's client uses a session once.
  const ktls::SslSessionPtr used(session != nullptr ? SSL_SESSION_dup(session) : nullptr);
  MemoryClient client({.certificate = &peer.presents, .sni = peer.sni, .session = used.get()});
  Visit visited;
  if (shuttle(server, client) != ktls::ServerHandshake::Step::kDone) {
    visited.result = server.failure().result;
    return visited;
  }
  visited.trust = server.outcome().trust;
  visited.resumed = server.outcome().resumed;
  visited.result = judge(*visited.trust, route, context->credentials(), context->now()).result();
  if (visited.result != HandshakeResult::kSuccess) return visited;
  server.intern_trust();
  server.issue_tickets();
  deliver(server, client);
  (void)client.read();
  if (!client.sessions().empty()) {
    SSL_SESSION_up_ref(client.sessions().front().get());
    visited.session.reset(client.sessions().front().get());
  }
  return visited;
}

class Judges : public ::testing::TestWithParam<std::uint64_t> {
 protected:
  Judges() : own_(pki_.files), tickets_(ktls::TicketSecrets::random()), random_(GetParam()) {}
  ~Judges() override { ktls::testing::set_clock_offset(0s); }

  // Null: these cannot be loaded.
  std::unique_ptr<Generation> generation(Config config, const Generation* before) {
    auto made = std::make_unique<Generation>();
    config.settings.tuned_openssl = pki_.settings.tuned_openssl;
    config.settings.process_tickets = tickets_;
    made->gateway = load(config, pki_.dir, own_);
    made->config = std::move(config);
    if (!made->gateway.credentials) {
      ++seen_["not loaded"];
      return nullptr;
    }
    made->reader = load(made->config, pki_.dir, own_);
    if (before != nullptr) made->gateway.credentials->share_issuers(*before->gateway.credentials);
    made->context = context_of(made->gateway);
    return made;
  }

  void run_trial() {
    ktls::testing::set_clock_offset(0s);
    const World world(random_);
    Config config = Config::at_random(world, random_);
    const auto first = generation(config, nullptr);
    if (!first) return;
    std::vector<Visit> visits;
    for (const Client& client : world.clients()) {
      SCOPED_TRACE(client_text(client) + first->config.description());
      visits.push_back(expect_one_verdict(*first, client));
    }

    ktls::testing::set_clock_offset(random_.one_of<std::chrono::seconds>({0s, 40min, 90min, 4h}));
    config.change(world, random_);
    const auto next = generation(config, first.get());
    if (!next) return;
    for (std::size_t i = 0; i < visits.size(); ++i) {
      if (!visits[i].session) continue;
      const Client& client = world.clients()[i];
      SCOPED_TRACE(client_text(client) + first->config.description() + "\nthen" +
                   next->config.description());
      if (now() != ktls::wall_clock_now())
        expect_one_verdict_later(world, *first, client, visits[i]);
      expect_change_to_be_seen(world, *first, *next, client, visits[i]);
    }
  }

  std::map<std::string, int> seen_;

 private:
  static std::chrono::sys_seconds now() { return ktls::testing::test_clock(); }

  static std::string client_text(const Client& client) {
    std::string text = "client " + std::to_string(client.leaf->made.serial) + " of " +
                       client.leaf->issuer->subject + " key " +
                       std::to_string(client.leaf->issuer->key) + ", sends";
    for (const Issued* each : client.sent) text += " " + std::to_string(each->made.serial);
    return text + " to " + client.sni;
  }

  static HandshakeResult explained(const Generation& generation, const Client& client) {
    const Snapshot snapshot{.generation = 0,
                            .credentials = generation.reader.credentials,
                            .named = {},
                            .policy = generation.reader.policy,
                            .endpoints = nullptr};
    const auto ders = client.ders();
    const auto explanation =
        explain_client(snapshot, {.certificates = {}, .sni = client.sni, .alpn = {}}, ders,
                       ktls::testing::test_clock);
    EXPECT_TRUE(explanation) << explanation.error();
    return explanation ? explanation->result : HandshakeResult::kUnknownFailure;
  }

  // As a ticket holds it, and the connection.
  static Verdict judged(const Generation& generation, const Client& client, const Trust& trust) {
    const auto read = PeerTrust::parse(trust->serialise());
    EXPECT_EQ(read, *trust);
    return judge(*read, generation.gateway.policy->find(client.sni),
                 *generation.gateway.credentials, now());
  }

  // Of a client that comes, and comes again.
  Visit expect_one_verdict(const Generation& generation, const Client& client) {
    const Policy& policy = *generation.gateway.policy;
    Visit full = visit(generation.context, policy, client);
    ++seen_[word(full.result)];
    EXPECT_EQ(word(explained(generation, client)), word(full.result)) << "--explain";
    const Visit cached = visit(generation.context, policy, client);
    EXPECT_EQ(word(cached.result), word(full.result)) << "its chain is in the cache";
    if (!full.trust) return full;
    EXPECT_EQ(*cached.trust, *full.trust);
    EXPECT_EQ(word(judged(generation, client, full.trust).result()), word(full.result));
    EXPECT_EQ(full.session != nullptr, full.result == HandshakeResult::kSuccess);
    if (!full.session) return full;
    const Visit resumed = visit(generation.context, policy, client, full.session.get());
    EXPECT_EQ(word(resumed.result), word(full.result)) << "resumed";
    EXPECT_TRUE(resumed.resumed);
    EXPECT_EQ(*resumed.trust, *full.trust);
    return full;
  }

  // Time passes under one configuration. A connection that lives may end where another path lets a
  // new one in: its own has expired.
  void expect_one_verdict_later(const World& world, const Generation& generation,
                                const Client& client, const Visit& before) {
    const Policy& policy = *generation.gateway.policy;
    const Visit full = visit(context_of(generation.gateway), policy, client);
    EXPECT_EQ(word(explained(generation, client)), word(full.result)) << "--explain, later";
    EXPECT_EQ(word(visit(generation.context, policy, client).result), word(full.result))
        << "its chain was in the cache, later";
    const Visit resumed = visit(generation.context, policy, client, before.session.get());
    EXPECT_EQ(word(resumed.result), word(full.result)) << "resumed, later";
    expect_live(world, generation, generation, client, *before.trust, full);
    if (resumed.resumed) ++seen_["later resumed"];
    ++seen_["later " + word(full.result)];
  }

  void expect_change_to_be_seen(const World& world, const Generation& first, const Generation& next,
                                const Client& client, const Visit& before) {
    // Before anyone of its issuers has come again.
    const LiveCauses at_once = judged(next, client, before.trust).causes();
    const Visit full = visit(next.context, *next.gateway.policy, client);
    EXPECT_EQ(word(explained(next, client)), word(full.result)) << "--explain, changed";
    const Visit resumed = visit(next.context, *next.gateway.policy, client, before.session.get());
    EXPECT_EQ(word(resumed.result), word(full.result)) << "resumed, changed";
    if (resumed.resumed) ++seen_["resumed after a change"];
    expect_live(world, first, next, client, *before.trust, full);
    const LiveCauses late = judged(next, client, before.trust).causes();
    EXPECT_EQ(at_once & ~late, LiveCauses{}) << "what ends a connection at once ends it later";
    ++seen_["changed " + word(full.result)];
  }

  // What a live connection ends for is what is true of the path that it was let in by, and but for
  // the reasons given here it stays exactly if its client could come again.
  void expect_live(const World& world, const Generation& first, const Generation& next,
                   const Client& client, const PeerTrust& trust, const Visit& full) {
    const Verdict live = judged(next, client, std::make_shared<const PeerTrust>(trust));
    const LiveCauses causes = live.causes();
    LiveCauses expected = next.config.causes(world, trust, client.sni, now());
    for (std::size_t i = 0; i < causes.size(); ++i)
      if (causes.test(i)) ++seen_["live " + std::string(kLiveCauseWords[i])];
    // docs/secure: the list of an issuer that only clients send counts once a full handshake has
    // shown its key.
    const std::size_t revoked = static_cast<std::size_t>(LiveCause::kRevoked);
    const bool shown = next.config.knows_issuers(world, trust) || !first.config.lists.empty() ||
                       (full.trust && *full.trust == trust);
    if (!shown && expected.test(revoked) && !causes.test(revoked)) {
      ++seen_["issuer not shown"];
      expected.reset(revoked);
    }
    EXPECT_EQ(causes, expected) << text_of(causes) << " but " << text_of(expected);

    if (full.trust && *full.trust == trust) EXPECT_EQ(word(live.result()), word(full.result));
    const bool comes_again = full.result == HandshakeResult::kSuccess;
    if (comes_again && causes.any()) {
      // "A path that could be rebuilt to another anchor does not count": it has another path.
      ++seen_["comes again by another path"];
      EXPECT_NE(*full.trust, trust);
    }
    if (!comes_again && causes.none()) {
      const std::string why = why_it_stays(world, first, next, client, trust, live, full);
      EXPECT_NE(why, "") << "a client that would be refused, " << word(full.result) << ", stays";
      ++seen_["stays: " + why];
    }
  }

  // Why a live connection stays though its client would be refused; nothing: for no good reason.
  static std::string why_it_stays(const World& world, const Generation& first,
                                  const Generation& next, const Client& client,
                                  const PeerTrust& trust, const Verdict& live, const Visit& full) {
    using enum HandshakeResult;
    // A lapsed or missing list ends no connection (docs/operate.md). A handshake may speak of
    // another path.
    if (live.result() == kCrlUnavailable || live.result() == kCrlExpired) return "no list in force";
    // Judged by facts, not certificates: extended key usage is none of them.
    if (full.result == kCertificatePurposeInvalid &&
        first.config.settings.client_eku != next.config.settings.client_eku)
      return "--client-eku changed";
    // Nor is the certificate between leaf and anchor that the bundle held, and the client does not
    // send: there is no path any more, or none but a worse one.
    for (std::size_t i = 1; i < trust.links.size(); ++i) {
      const Issued& between = world.find(trust.links[i]);
      if (!next.config.has(between) && std::ranges::count(client.sent, &between) == 0)
        return "an intermediate is gone";
    }
    return "";
  }

  ktls::testing::TestServer pki_;
  ktls::CredentialFiles own_;
  std::shared_ptr<const ktls::TicketSecrets> tickets_;
  Random random_;
};

TEST_P(Judges, SayTheSameOfAClient) {
  constexpr int kTrials = 40;
  for (int i = 0; i < kTrials && !HasFailure(); ++i) {
    SCOPED_TRACE("seed " + std::to_string(GetParam()) + ", trial " + std::to_string(i));
    run_trial();
  }
  // That the random choices reach all that is to be compared.
  for (const char* const what : {"success", "certificate_authority_invalid", "not_authorized",
                                 "later success", "later resumed", "changed success",
                                 "resumed after a change", "live untrusted", "live expired"})
    EXPECT_GT(seen_[what], 0) << what;
  for (const auto& [what, times] : seen_) RecordProperty(what, times);
}

INSTANTIATE_TEST_SUITE_P(Seeds, Judges, ::testing::Range<std::uint64_t>(1, 5),
                         [](const auto& seed) { return "Seed" + std::to_string(seed.param); });

}  // namespace
}  // namespace sallyport::gateway::testing
