// What --check --against says of a live connection is what --explain, and so a handshake, says of
// its client: see client_certificates_test and e2e's explain_test for the other halves.
#include "gateway/run/rehearsal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/pem.h>

#include <map>
#include <string>
#include <vector>

#include "gateway/run/explain.h"
#include "ktls/base/openssl_handles.h"
#include "ktls/handshake/server_context.h"
#include "tests/gateway/run/inventory_json.h"
#include "tests/support/pki.h"
#include "tests/support/temp_dir.h"

namespace sallyport::gateway::testing {
namespace {

using std::chrono::hours;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Ders = std::vector<std::vector<std::byte>>;

constexpr char kTwoRoutes[] = R"({"routes": {
    "orders": {"sni": ["orders.example.org"], "allow-any-verified": true},
    "billing": {"sni": ["billing.example.org"], "allow-any-verified": true}}})";

Ders ders_of(const std::string& pem) {
  const ktls::BioPtr in(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  Ders ders;
  while (const ktls::X509Ptr next{PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr)}) {
    const std::vector<unsigned char> der = test::to_der(next.get());
    const auto bytes = std::as_bytes(std::span(der));
    ders.emplace_back(bytes.begin(), bytes.end());
  }
  (void)ktls::OpensslError::drain();
  return ders;
}

std::chrono::sys_seconds now() {
  return ktls::wall_clock_now();
}

// The word of a live connection for that of a refusal, where there is one.
std::string live_word(ktls::HandshakeResult result) {
  using enum ktls::HandshakeResult;
  static const std::map<ktls::HandshakeResult, std::string> kWords{
      {kCertificateRevoked, "revoked"},
      {kCertificateAuthorityInvalid, "untrusted"},
      {kNotAuthorized, "not_authorized"},
      {kCertificateExpired, "expired"},
      {kNoRoute, "route_gone"}};
  const auto found = kWords.find(result);
  return found == kWords.end() ? std::string(to_string(result)) : found->second;
}

std::string text(const Rehearsal::Group& group) {
  return group.word + " " + group.route + " " + group.identity + " " +
         std::to_string(group.connections);
}

std::vector<std::string> texts(const std::vector<Rehearsal::Group>& groups) {
  std::vector<std::string> all;
  for (const auto& each : groups) all.push_back(text(each));
  return all;
}

struct Connected {
  Ders certificates;
  InventoryPeer peer;
  Options::Client client;
};

class RehearsalTest : public ::testing::Test {
 protected:
  RehearsalTest() {
    trust.ca = {{std::nullopt, dir.write("ours.pem", ours.cert_pem())},
                {std::nullopt, dir.write("other.pem", other.cert_pem())}};
    trust.trust_only = true;
  }

  Snapshot snapshot(const std::string& policy_json) const {
    Snapshot made;
    auto credentials = ktls::Credentials::load(trust);
    auto policy = parse_policy(policy_json, "policy.json");
    EXPECT_TRUE(credentials) << credentials.error().message();
    EXPECT_TRUE(policy) << policy.error().to_string();
    made.credentials = *credentials;
    made.policy = *policy;
    return made;
  }

  // As a handshake under `in_force` lets it in, written and read again.
  Connected connect(const Snapshot& in_force, const test::TestCertificate& certificate,
                    const std::string& route, std::uint64_t connections = 1) const {
    Connected made{
        .certificates = ders_of(certificate.chain_pem),
        .peer = {.trust = {}, .route = route, .listener = "l", .connections = connections},
        .client = {.certificates = {}, .sni = route + ".example.org", .alpn = {}}};
    const auto context = ktls::ServerContext::create(in_force.credentials, "l");
    const auto verified = (*context)->verify_client(made.certificates);
    EXPECT_TRUE(verified) << verified.error().failure.detail;
    made.peer.trust = **verified;
    made.peer.trust.leaf.not_before = {};  // decides nothing, and is not told
    const auto page = parse_inventory_page(page_json({made.peer}).dump());
    EXPECT_TRUE(page) << page.error();
    EXPECT_EQ(page->part.peers.at(0).trust, made.peer.trust);
    made.peer = page->part.peers.at(0);
    return made;
  }

  std::vector<Connected> connections(const Snapshot& in_force) const {
    const test::TestAuthority sub = ours.intermediate("Sub");
    std::vector<Connected> all;
    for (const std::string route : {"orders", "billing"}) {
      for (const test::TestAuthority* issuer : {&ours, &other, &sub}) {
        all.push_back(
            connect(in_force, issuer->issue({.spiffe = {"spiffe://example.org/a"}}), route));
        all.push_back(
            connect(in_force, issuer->issue({.spiffe = {"spiffe://other.org/b"}}), route));
        all.push_back(connect(in_force, issuer->issue({.dns = {"c.example.org"}}), route));
        all.push_back(
            connect(in_force,
                    issuer->issue({.dns = {"d.example.org"}, .spiffe = {"spiffe://example.org/d"}}),
                    route));
        all.push_back(connect(in_force, issuer->issue({.cn = "no name"}), route));
      }
    }
    return all;
  }

  // Returns the words, with how many connections have each.
  static std::map<std::string, int> expect_as_explained(const Snapshot& next,
                                                        const std::vector<Connected>& all) {
    std::map<std::string, int> words;
    for (const Connected& each : all) {
      const auto explained = explain_client(next, each.client, each.certificates);
      EXPECT_TRUE(explained) << explained.error();
      const Rehearsal rehearsal = rehearse(next, {{each.peer}, {}}, {}, now());
      std::string word = "success";
      for (const auto& group : rehearsal.refused_anew) word = group.word;
      for (const auto& group : rehearsal.ends) word = group.word;
      EXPECT_EQ(word, live_word(explained->result)) << each.peer.trust.identity.display();
      ++words[word];
    }
    return words;
  }
  using Words = std::map<std::string, int>;

  test::TempDir dir;
  test::TestAuthority ours{"Ours"};
  test::TestAuthority other{"Other"};
  ktls::CredentialFiles trust;
};

TEST_F(RehearsalTest, SaysOfEachConnectionWhatIsExplainedOfItsClient) {
  const Snapshot in_force = snapshot(kTwoRoutes);
  const auto all = connections(in_force);
  EXPECT_EQ(expect_as_explained(in_force, all), (Words{{"success", 30}}));

  const Snapshot narrower = snapshot(R"({"routes": {
      "orders": {"sni": ["orders.example.org"], "allow": ["spiffe://example.org/*"]},
      "billing": {"sni": ["billing.example.org"], "allow": ["dns:c.example.org"]}}})");
  EXPECT_EQ(expect_as_explained(narrower, all), (Words{{"success", 9}, {"not_authorized", 21}}));

  const Snapshot gone = snapshot(R"({"routes": {
      "orders": {"sni": ["orders.example.org"], "allow-any-verified": true}}})");
  EXPECT_EQ(expect_as_explained(gone, all), (Words{{"success", 15}, {"route_gone", 15}}));

  trust.ca.pop_back();
  EXPECT_EQ(expect_as_explained(snapshot(kTwoRoutes), all),
            (Words{{"success", 20}, {"untrusted", 10}}));
}

TEST_F(RehearsalTest, SaysSoUnderRevocation) {
  const auto all = connections(snapshot(kTwoRoutes));
  const auto one = ours.issue({.spiffe = {"spiffe://example.org/revoked"}});
  std::vector<Connected> both = all;
  both.push_back(connect(snapshot(kTwoRoutes), one, "orders"));

  trust.crls = {dir.write("ours.crl", ours.crl({one.serial})), dir.write("other.crl", other.crl())};
  const Words words = expect_as_explained(snapshot(kTwoRoutes), both);
  EXPECT_EQ(words, (Words{{"success", 20}, {"revoked", 1}, {"crl_unavailable", 10}})) << "of Sub";

  trust.crls.back() = dir.write("other.crl", other.crl({}, -hours(1)));
  EXPECT_EQ(expect_as_explained(snapshot(kTwoRoutes), both).at("crl_expired"), 10);
}

// What verifies the list of an issuer in no bundle is known to the gateway that its clients told.
TEST_F(RehearsalTest, JudgesByTheListsOfIssuersThatTheGatewayKnows) {
  const test::TestAuthority sub = ours.intermediate("Sub");
  const auto leaf = sub.issue({.spiffe = {"spiffe://example.org/a"}});
  const auto lists = [&](const std::vector<std::uint64_t>& revoked) {
    return ours.crl() + other.crl() + sub.crl(revoked);
  };
  trust.crls = {dir.write("before.crl", lists({}))};
  const Snapshot in_force = snapshot(kTwoRoutes);
  const InventoryPeer peer = connect(in_force, leaf, "orders").peer;
  const std::vector<KnownIssuer> known = in_force.known_issuers("orders", peer.trust);
  ASSERT_EQ(known.size(), 2U) << "Sub and the anchor";

  trust.crls = {dir.write("after.crl", lists({leaf.serial}))};
  const std::string revoked = "revoked orders spiffe://example.org/a 1";
  EXPECT_THAT(texts(rehearse(snapshot(kTwoRoutes), {{peer}, known}, {}, now()).ends),
              ElementsAre(revoked));
  // As a reload that nobody has told.
  const std::string unknown = "crl_unavailable orders spiffe://example.org/a 1";
  EXPECT_THAT(texts(rehearse(snapshot(kTwoRoutes), {{peer}, {}}, {}, now()).refused_anew),
              ElementsAre(unknown));
  std::vector<KnownIssuer> of_another_trust = known;
  for (KnownIssuer& each : of_another_trust) each.trust = "partners";
  EXPECT_THAT(
      texts(rehearse(snapshot(kTwoRoutes), {{peer}, of_another_trust}, {}, now()).refused_anew),
      ElementsAre(unknown));
}

// Each judges by what its own clients have shown: so it is known by the name of the trust.
TEST_F(RehearsalTest, KeepsWhatIsKnownToTheTrustThatKnowsIt) {
  const test::TestAuthority sub = ours.intermediate("Sub");
  const auto leaf = sub.issue({.spiffe = {"spiffe://example.org/a"}});
  trust.crls = {dir.write("before.crl", ours.crl() + other.crl() + sub.crl())};
  constexpr char kNamed[] = R"({
      "trust": {"partners": {"ca": ["ours.pem"]}},
      "routes": {"orders": {"sni": ["orders.example.org"], "allow-any-verified": true},
                 "billing": {"sni": ["billing.example.org"], "allow-any-verified": true,
                             "trust": "partners"}}})";
  Snapshot in_force = snapshot(kNamed);
  in_force.named = {snapshot(kNamed).credentials};
  Snapshot of_partners = in_force;
  of_partners.credentials = in_force.named[0];
  const InventoryPeer peer = connect(of_partners, leaf, "billing").peer;
  EXPECT_THAT(in_force.known_issuers("orders", peer.trust), IsEmpty());
  const std::vector<KnownIssuer> known = in_force.known_issuers("billing", peer.trust);
  ASSERT_EQ(known.size(), 2U);
  EXPECT_EQ(known[0].trust, "partners");

  Snapshot next = snapshot(kNamed);
  next.named = {snapshot(kNamed).credentials};
  for (const KnownIssuer& each : known) next.learn_issuer(each);
  EXPECT_THAT(next.known_issuers("orders", peer.trust), IsEmpty());
  EXPECT_EQ(next.known_issuers("billing", peer.trust).size(), 2U);
}

TEST_F(RehearsalTest, GroupsByCauseRouteAndIdentity) {
  const Snapshot in_force = snapshot(kTwoRoutes);
  const auto at = [&](const test::TestAuthority& issuer, const std::string& name,
                      const std::string& route, std::uint64_t connections) {
    return connect(in_force, issuer.issue({.spiffe = {"spiffe://example.org/" + name}}), route,
                   connections)
        .peer;
  };
  const std::vector<InventoryPeer> peers{at(ours, "b", "orders", 2),  at(other, "b", "orders", 10),
                                         at(ours, "a", "orders", 3),  at(ours, "b", "orders", 5),
                                         at(ours, "a", "billing", 1), at(ours, "ok", "orders", 40)};
  trust.ca.pop_back();
  const Rehearsal rehearsal = rehearse(snapshot(R"({"routes": {
      "orders": {"sni": ["orders.example.org"], "allow": ["spiffe://example.org/ok"]}}})"),
                                       {peers, {}}, {}, now());
  EXPECT_THAT(texts(rehearsal.ends), ElementsAre("untrusted orders spiffe://example.org/b 10",
                                                 "not_authorized orders spiffe://example.org/a 3",
                                                 "not_authorized orders spiffe://example.org/b 7",
                                                 "route_gone billing spiffe://example.org/a 1"));
  EXPECT_EQ(rehearsal.connections, 61U);
  EXPECT_EQ(rehearsal.ending(), 21U);
}

TEST_F(RehearsalTest, TellsOfConnectionsThatStayAndCouldNotComeAgain) {
  const Snapshot in_force = snapshot(kTwoRoutes);
  const auto peer =
      connect(in_force, ours.issue({.spiffe = {"spiffe://example.org/a"}}), "orders", 3).peer;
  trust.crls = {dir.write("ours.crl", ours.crl({}, -hours(1)))};
  const Rehearsal rehearsal = rehearse(snapshot(kTwoRoutes), {{peer}, {}}, {}, now());
  EXPECT_THAT(rehearsal.ends, IsEmpty());
  EXPECT_THAT(texts(rehearsal.refused_anew),
              ElementsAre("crl_expired orders spiffe://example.org/a 3"));
}

TEST_F(RehearsalTest, KeepsForOneCauseAndEndsForAnother) {
  const Snapshot in_force = snapshot(kTwoRoutes);
  const auto leaf = ours.issue({.spiffe = {"spiffe://example.org/a"}, .not_after = hours(2)});
  const auto peer = connect(in_force, leaf, "orders").peer;
  trust.crls = {dir.write("ours.crl", ours.crl({leaf.serial}))};
  const Snapshot next = snapshot(kTwoRoutes);
  LiveCauses keep;
  keep.set(static_cast<std::size_t>(LiveCause::kRevoked));
  const Rehearsal kept = rehearse(next, {{peer}, {}}, keep, now());
  EXPECT_THAT(kept.ends, IsEmpty());
  EXPECT_THAT(texts(kept.kept), ElementsAre("revoked orders spiffe://example.org/a 1"));
  const Rehearsal later = rehearse(next, {{peer}, {}}, keep, now() + hours(3));
  EXPECT_THAT(texts(later.ends), ElementsAre("expired orders spiffe://example.org/a 1"));
  EXPECT_THAT(later.kept, IsEmpty());
}

TEST_F(RehearsalTest, EndsWhatExpired) {
  const Snapshot in_force = snapshot(kTwoRoutes);
  const auto peer =
      connect(in_force, ours.issue({.dns = {"a.b"}, .not_after = hours(2)}), "orders").peer;
  EXPECT_EQ(rehearse(in_force, {{peer}, {}}, {}, now() + hours(1)).ending(), 0U);
  EXPECT_THAT(texts(rehearse(in_force, {{peer}, {}}, {}, now() + hours(3)).ends),
              ElementsAre("expired orders dns:a.b 1"));
}

}  // namespace
}  // namespace sallyport::gateway::testing
