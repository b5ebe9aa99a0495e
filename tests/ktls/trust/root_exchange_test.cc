// While a root is exchanged a bundle holds several certificates of one name: one valid path lets a
// client in, in whichever order the file has them. OpenSSL tries one issuer only, so that it
// depended on the order, and on key identifiers, whether half of the clients were refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/x509v3.h>

#include <functional>
#include <string>
#include <vector>

#include "ktls/trust/x509_facts.h"
#include "tests/ktls/handshake/loopback.h"
#include "tests/ktls/trust/crl_builder.h"

namespace sallyport::ktls::testing {
namespace {

using test::TestAuthority;
using test::TestCertificate;
using Step = ServerHandshake::Step;
using std::chrono::hours;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Change = std::function<void(X509*)>;

// The certificate in PEM, changed, and signed by `issuer`, which may be itself.
std::string copy_of(const TestCertificate& certificate, const TestCertificate& issuer,
                    const Change& change = {}) {
  const X509Ptr copy(X509_dup(certificate.x509.get()));
  X509_set_issuer_name(copy.get(), X509_get_subject_name(issuer.x509.get()));
  if (change) change(copy.get());
  EXPECT_GT(X509_sign(copy.get(), issuer.key.get(), EVP_sha256()), 0);
  return test::to_pem(copy.get());
}

Change valid_until(std::chrono::seconds from_now) {
  return [from_now](X509* certificate) {
    X509_gmtime_adj(X509_getm_notAfter(certificate), from_now.count());
  };
}

void drop_key_identifiers(X509* certificate) {
  for (const int nid : {NID_subject_key_identifier, NID_authority_key_identifier}) {
    const int at = X509_get_ext_by_NID(certificate, nid, -1);
    if (at >= 0) X509_EXTENSION_free(X509_delete_ext(certificate, at));
  }
}

class RootExchange : public ::testing::Test {
 protected:
  RootExchange() { pki.settings.process_tickets = TicketSecrets::random(); }

  void trust(const std::vector<std::string>& certificates) {
    std::string bundle;
    for (const std::string& each : certificates) bundle += each;
    pki.files.ca = {{std::nullopt, pki.dir.write("bundle.pem", bundle)}};
  }
  /// The result of a handshake with `certificate`, whose client sends `others`, too. A success is
  /// repeated, by the chain cache and by ticket, in the same context.
  std::string verdict(TestCertificate certificate, const std::string& others = "") {
    certificate.chain_pem = certificate.cert_pem + others;
    const auto context = pki.context();
    if (!context) return "no context";
    std::vector<SslSessionPtr> sessions;
    const auto visit = [&](SSL_SESSION* session) -> std::string {
      RoutedHandshake server(context, any_route());
      MemoryClient client({.certificate = &certificate, .session = session});
      if (shuttle(server, client) != Step::kDone)
        return std::string(to_string(server.failure().result));
      server.issue_tickets();
      deliver(server, client);
      (void)client.read();
      for (const SslSessionPtr& each : client.sessions()) {
        SSL_SESSION_up_ref(each.get());
        sessions.emplace_back(each.get());
      }
      return server.outcome().resumed ? "resumed" : "success";
    };
    const std::string first = visit(nullptr);
    if (first != "success") return first;
    EXPECT_EQ(visit(nullptr), "success") << "by the chain cache";
    EXPECT_FALSE(sessions.empty());
    if (!sessions.empty()) EXPECT_EQ(visit(sessions.front().get()), "resumed");
    return first;
  }
  /// In both orders of the bundle.
  std::string verdict_with(const std::string& first, const std::string& second,
                           const TestCertificate& certificate, const std::string& others = "") {
    trust({first, second});
    const std::string one = verdict(certificate, others);
    trust({second, first});
    const std::string other = verdict(certificate, others);
    return one == other ? one : one + ", but in the other order " + other;
  }

  TestServer pki;
  const TestAuthority root{"Corp Root"};
  const TestAuthority elsewhere{"Other Root"};
  const TestCertificate leaf = root.issue({.cn = "web", .dns = {"web"}});
};

TEST_F(RootExchange, HasAnExpiredRootBesideItsRenewal) {
  const std::string expired =
      copy_of(root.certificate(), root.certificate(), valid_until(-hours(1)));
  EXPECT_EQ(verdict_with(expired, root.cert_pem(), leaf), "success");
  trust({expired});
  EXPECT_EQ(verdict(leaf), "certificate_expired");
}

// What is looked at to know when trust runs out must not lie in the past because of a root that was
// renewed long ago.
TEST_F(RootExchange, ReportsTheAnchorsInUse) {
  const auto reported = [&] {
    const auto credentials = pki.load();
    std::vector<std::string> lines;
    for (const Expiry& each : (*credentials)->certificate_expiries()) {
      if (each.role != "ca") continue;
      const auto left = std::chrono::ceil<hours>(each.at - wall_clock_now());
      lines.push_back(each.name.substr(each.name.find("bundle.pem")) + " " +
                      std::to_string(left.count()));
    }
    return lines;
  };
  const std::string own = root.cert_pem();
  const std::string serial = serial_text(X509_get0_serialNumber(root.certificate().x509.get()));
  const std::string expired =
      copy_of(root.certificate(), root.certificate(), valid_until(-hours(1)));
  const std::string other_expired =
      copy_of(elsewhere.certificate(), elsewhere.certificate(), valid_until(-hours(9)));
  trust({own, root.intermediate().cert_pem()});
  EXPECT_THAT(reported(), ElementsAre("bundle.pem 240"));
  trust({expired, own});
  EXPECT_THAT(reported(), ElementsAre("bundle.pem 240"));
  trust({own, other_expired});
  EXPECT_THAT(reported(), ElementsAre("bundle.pem 240"));
  trust({expired, other_expired});
  EXPECT_EQ(reported().size(), 2U) << "nothing is left";
  trust({own, elsewhere.cert_pem()});
  EXPECT_THAT(reported(), ElementsAre("bundle.pem: CN=Corp Root, serial " + serial + " 240",
                                      HasSubstr("bundle.pem: CN=Other Root, serial ")));
}

TEST_F(RootExchange, HasARootBesideItsCrossSignedCopy) {
  for (const auto until : {hours(24 * 900), hours(5), -hours(1)}) {
    const std::string crossed =
        copy_of(root.certificate(), elsewhere.certificate(), valid_until(until));
    EXPECT_EQ(verdict_with(crossed, root.cert_pem(), leaf), "success") << until.count();
    EXPECT_EQ(verdict_with(root.cert_pem(), elsewhere.cert_pem(), leaf, crossed), "success")
        << "sent by the client";
    trust({root.cert_pem()});
    EXPECT_EQ(verdict(leaf, crossed), "success") << "sent by the client";
  }
  trust({elsewhere.cert_pem()});
  EXPECT_EQ(verdict(leaf, copy_of(root.certificate(), elsewhere.certificate())), "success");
}

TEST_F(RootExchange, HasTwoRootsOfOneName) {
  const TestAuthority twin{"Corp Root"};
  const TestCertificate twins_leaf = twin.issue({.cn = "web", .dns = {"web"}});
  EXPECT_EQ(verdict_with(root.cert_pem(), twin.cert_pem(), leaf), "success");
  EXPECT_EQ(verdict_with(root.cert_pem(), twin.cert_pem(), twins_leaf), "success");
}

TEST_F(RootExchange, HasTwoRootsOfOneNameWithoutKeyIdentifiers) {
  const TestAuthority twin{"Corp Root"};
  const std::string first = copy_of(root.certificate(), root.certificate(), drop_key_identifiers);
  const std::string second = copy_of(twin.certificate(), twin.certificate(), drop_key_identifiers);
  for (const TestAuthority* issuer : {&root, &twin}) {
    TestCertificate bare = leaf;
    bare.cert_pem = copy_of(leaf, issuer->certificate(), drop_key_identifiers);
    EXPECT_EQ(verdict_with(first, second, bare), "success");
    EXPECT_EQ(verdict_with(root.cert_pem(), twin.cert_pem(), bare), "success");
    bare.cert_pem = copy_of(leaf, issuer->certificate(), [](X509* certificate) {
      drop_key_identifiers(certificate);
      valid_until(-hours(1))(certificate);
    });
    EXPECT_EQ(verdict_with(first, second, bare), "certificate_expired") << "the reason is its own";
  }
}

TEST_F(RootExchange, HasTwinsAmongTheIntermediates) {
  const TestAuthority issuing = root.intermediate("Issuing");
  const TestAuthority twin = root.intermediate("Issuing");
  const std::string first =
      copy_of(issuing.certificate(), root.certificate(), drop_key_identifiers);
  const std::string second = copy_of(twin.certificate(), root.certificate(), drop_key_identifiers);
  TestCertificate bare = leaf;
  for (const TestAuthority* issuer : {&issuing, &twin}) {
    bare.cert_pem = copy_of(leaf, issuer->certificate(), drop_key_identifiers);
    trust({root.cert_pem()});
    EXPECT_EQ(verdict(bare, first + second), "success");
    EXPECT_EQ(verdict(bare, second + first), "success");
    trust({root.cert_pem(), first, second});
    EXPECT_EQ(verdict(bare), "success") << "in the bundle";
  }
}

// RFC 4210 4.4: the new key, certified by the old one under the same name. By name alone the old
// root could be the leaf's issuer as well.
TEST_F(RootExchange, HasTheNewKeyUnderTheOldRoot) {
  const TestAuthority renewed = root.intermediate("Corp Root");
  TestCertificate bare = renewed.issue({.cn = "web", .dns = {"web"}});
  bare.cert_pem = copy_of(bare, renewed.certificate(), drop_key_identifiers);
  trust({root.cert_pem()});
  EXPECT_EQ(verdict(bare, renewed.cert_pem()), "success");
  EXPECT_EQ(verdict_with(root.cert_pem(), renewed.cert_pem(), bare), "success");
}

TEST_F(RootExchange, HasAPinnedLeafWhoseIssuersHaveExpired) {
  const std::string expired =
      copy_of(root.certificate(), root.certificate(), valid_until(-hours(1)));
  pki.settings.partial_chain = true;
  EXPECT_EQ(verdict_with(leaf.cert_pem, expired, leaf), "success");
}

// What is judged after OpenSSL belongs to the path as well.
TEST_F(RootExchange, TakesThePathWhoseAnchorVouchesForTheIdentity) {
  const TestAuthority issuing = root.intermediate("Issuing");
  const std::string crossed =
      copy_of(issuing.certificate(), elsewhere.certificate(), drop_key_identifiers);
  const TestCertificate web = issuing.issue({.spiffe = {"spiffe://b.example/web"}});
  pki.files.ca = {{"a.example", pki.dir.write("a.pem", root.cert_pem())},
                  {"b.example", pki.dir.write("b.pem", elsewhere.cert_pem())}};
  EXPECT_EQ(verdict(web, issuing.cert_pem() + crossed), "success");
  EXPECT_EQ(verdict(web, crossed + issuing.cert_pem()), "success");
  EXPECT_EQ(verdict(web, issuing.cert_pem()), "certificate_authority_invalid");
}

TEST_F(RootExchange, TakesThePathOnWhichNothingIsRevoked) {
  const TestAuthority issuing = root.intermediate("Issuing");
  const std::string crossed =
      copy_of(issuing.certificate(), elsewhere.certificate(), drop_key_identifiers);
  const TestCertificate web = issuing.issue({.dns = {"web"}});
  const auto with_lists = [&](const std::vector<std::uint64_t>& by_root,
                              const std::vector<std::uint64_t>& by_other,
                              const std::vector<std::uint64_t>& by_issuing) {
    pki.files.crls = {pki.dir.write(
        "a.crl", root.crl(by_root) + elsewhere.crl(by_other) + issuing.crl(by_issuing))};
    return verdict_with(root.cert_pem(), elsewhere.cert_pem(), web, issuing.cert_pem() + crossed);
  };
  const std::uint64_t serial = issuing.certificate().serial;
  EXPECT_EQ(with_lists({}, {}, {}), "success");
  EXPECT_EQ(with_lists({serial}, {}, {}), "success");
  EXPECT_EQ(with_lists({}, {serial}, {}), "success");
  EXPECT_EQ(with_lists({serial}, {serial}, {}), "certificate_revoked");
  EXPECT_EQ(with_lists({}, {}, {web.serial}), "certificate_revoked");
}

TEST_F(RootExchange, HasManyTwinsAmongWhatAClientSends) {
  TestCertificate bare = leaf;
  bare.cert_pem = copy_of(leaf, root.certificate(), drop_key_identifiers);
  std::string others;
  for (int i = 0; i < 9; ++i) {
    const TestAuthority twin = root.intermediate("Corp Root");
    others += copy_of(twin.certificate(), root.certificate(), drop_key_identifiers);
  }
  trust({copy_of(root.certificate(), root.certificate(), drop_key_identifiers)});
  EXPECT_EQ(verdict(bare, others.substr(0, others.size() / 9 * 8)), "success");
  const TestAuthority stranger{"Corp Root"};
  bare.cert_pem = copy_of(leaf, stranger.certificate(), drop_key_identifiers);
  EXPECT_EQ(verdict(bare, others.substr(0, others.size() / 9 * 8)),
            "certificate_authority_invalid");
}

}  // namespace
}  // namespace sallyport::ktls::testing
