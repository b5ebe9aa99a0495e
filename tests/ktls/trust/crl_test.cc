// Lists whose scope cannot be honoured are refused with the extension's name. Of the others, which
// ones count for a certificate.
#include "ktls/trust/crl.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ktls/trust/credentials.h"
#include "ktls/trust/crl_set.h"
#include "tests/ktls/handshake/loopback.h"
#include "tests/ktls/trust/bare_stack.h"
#include "tests/ktls/trust/crl_builder.h"

namespace sallyport::ktls::testing {
namespace {

using namespace std::chrono_literals;
using test::TestAuthority;
using test::TestCertificate;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kIdp = "issuingDistributionPoint";

class CrlTest : public ::testing::Test {
 protected:
  std::string error_of(const CrlSpec& spec) {
    const auto crl = Crl::make(make_crl(root.certificate(), spec));
    return crl ? "" : crl.error();
  }
  std::string error_of_idp(const std::string& value) {
    return error_of({.extensions = {{kIdp, "critical," + value}}});
  }
  std::string error_of_entry(const ExtensionText& extension) {
    return error_of({.serials = {12}, .entry_extensions = {extension}});
  }

  const TestAuthority root;
};

TEST_F(CrlTest, MayBeForSomeKindsOfCertificatesOrOneDistributionPoint) {
  EXPECT_EQ(error_of({}), "");
  for (const char* value : {"onlyuser:TRUE", "onlyCA:TRUE", "fullname:URI:http://ca/crl",
                            "onlyuser:TRUE,fullname:URI:http://ca/crl"})
    EXPECT_EQ(error_of_idp(value), "") << value;
  EXPECT_EQ(error_of({.extensions = {{kIdp, "onlyuser:TRUE"}}}), "") << "not critical";
  EXPECT_EQ(error_of({.serials = {12},
                      .extensions = {{"crlNumber", "DER:020101"},
                                     {"authorityKeyIdentifier", "critical,keyid:always"},
                                     {"1.2.3.4.5", "DER:0500"}},
                      .entry_extensions = {{"CRLReason", "DER:0A0101"}}}),
            "");
}

TEST_F(CrlTest, IsRefusedForAScopeThatCannotBeHonoured) {
  for (const auto& [value, what] : std::vector<std::pair<std::string, std::string>>{
           {"onlysomereasons:keyCompromise", "onlySomeReasons"},
           {"onlyuser:TRUE,onlysomereasons:keyCompromise", "onlySomeReasons"},
           {"indirectCRL:TRUE", "indirectCRL"},
           {"onlyAA:TRUE", "onlyContainsAttributeCerts"},
           {"onlyuser:TRUE,onlyCA:TRUE", "onlyContainsUserCerts and onlyContainsCACerts"},
           {"DER:3000", "without any content"},
           {"DER:30018100", "cannot be decoded"}})
    EXPECT_THAT(error_of_idp(value), AllOf(HasSubstr(kIdp), HasSubstr(what))) << value;
}

TEST_F(CrlTest, IsRefusedForAnExtensionThatMustBeUnderstood) {
  EXPECT_EQ(error_of({.extensions = {{"1.2.3.4.5", "critical,DER:0500"}}}),
            "critical extension 1.2.3.4.5 is not supported");
  EXPECT_THAT(error_of({.extensions = {{"crlNumber", "critical,DER:020101"}}}),
              HasSubstr("critical extension crlNumber"));
  EXPECT_THAT(error_of({.extensions = {{"deltaCRL", "critical,DER:020101"}}}),
              HasSubstr("delta CRLs are not supported"));
}

TEST_F(CrlTest, IsRefusedForAnExtensionTwiceOrBroken) {
  EXPECT_EQ(error_of({.extensions = {{kIdp, "onlyuser:TRUE"}, {kIdp, "onlyCA:TRUE"}}}),
            "extension issuingDistributionPoint twice");
  EXPECT_EQ(error_of({.extensions = {{"crlNumber", "DER:0101FF"}}}),
            "extension cRLNumber cannot be decoded");
  EXPECT_EQ(error_of({.extensions = {{"authorityKeyIdentifier", "DER:0500"}}}),
            "extension authorityKeyIdentifier cannot be decoded");
  EXPECT_EQ(error_of_entry({"CRLReason", "DER:0500"}),
            "entry 0C: extension reasonCode cannot be decoded");
}

TEST_F(CrlTest, IsRefusedForAnEntryThatDoesNotRevoke) {
  EXPECT_THAT(error_of_entry({"CRLReason", "DER:0A0108"}),
              AllOf(HasSubstr("entry 0C: "), HasSubstr("removeFromCRL")));
  EXPECT_THAT(error_of_entry({"certificateIssuer", "critical,DER:3003860161"}),
              AllOf(HasSubstr("entry 0C: "), HasSubstr("certificateIssuer")));
  EXPECT_THAT(error_of_entry({"1.2.3.4.5", "critical,DER:0500"}),
              HasSubstr("entry 0C: critical extension 1.2.3.4.5"));
}

TEST_F(CrlTest, IsRefusedForATimeThatCannotBeDecoded) {
  const X509CrlPtr crl = make_crl(root.certificate(), {});
  const OpensslPtr<ASN1_TIME, ASN1_TIME_free> odd(ASN1_TIME_new());
  ASN1_STRING_set(odd.get(), "9901010000Z", -1);
  odd->type = V_ASN1_UTCTIME;
  const auto error_with = [&](int (*set)(X509_CRL*, const ASN1_TIME*)) {
    X509CrlPtr changed(X509_CRL_dup(crl.get()));
    set(changed.get(), odd.get());
    const auto made = Crl::make(std::move(changed));
    return made ? "" : made.error();
  };
  EXPECT_EQ(error_with(X509_CRL_set1_lastUpdate), "thisUpdate cannot be decoded");
  EXPECT_EQ(error_with(X509_CRL_set1_nextUpdate), "nextUpdate cannot be decoded");
}

// ---- in the files of the gateway

class CrlFile : public ::testing::Test {
 protected:
  std::string error_with(const std::string& text) {
    pki.files.crls = {pki.dir.write("a.crl", text)};
    const auto credentials = pki.load();
    return credentials ? "" : credentials.error().message();
  }

  TestServer pki;
};

TEST_F(CrlFile, IsNamedWithTheLineOfTheListThatCannotBeHonoured) {
  const std::string good = to_pem(make_crl(pki.authority.certificate(), {}).get());
  const std::string bad = to_pem(
      make_crl(pki.authority.certificate(), {.extensions = {{kIdp, "critical,indirectCRL:TRUE"}}})
          .get());
  const auto line = 1 + std::ranges::count(good, '\n');
  EXPECT_THAT(error_with(good + bad), HasSubstr("a.crl:" + std::to_string(line) +
                                                ": issuingDistributionPoint with indirectCRL"));
}

TEST_F(CrlFile, IsRefusedFromAnIssuerThatMayNotSignLists) {
  const TestCertificate& root = pki.authority.certificate();
  const TestCertificate mute =
      reissue(root, root, {{"keyUsage", "critical,keyCertSign,digitalSignature"}});
  pki.files.ca = {{std::nullopt, pki.dir.write("mute.pem", mute.cert_pem)}};
  const std::string list = to_pem(make_crl(root, {}).get());
  EXPECT_THAT(error_with(list), AllOf(HasSubstr("a.crl:1: "), HasSubstr("no cRLSign")));
  // Renewed with the right: the key may sign.
  pki.files.ca = {{std::nullopt, pki.dir.write("both.pem", mute.cert_pem + root.cert_pem)}};
  EXPECT_EQ(error_with(list), "");
}

// The bundle may be behind: the lists of other issuers have to be renewed all the same.
TEST_F(CrlFile, OfAnIssuerThatWasReKeyedCoversNothingAndRefusesNoOtherList) {
  const TestAuthority re_keyed;  // the same name as pki.authority
  const std::string old_list = to_pem(make_crl(pki.authority.certificate(), {}).get());
  const std::string new_list = to_pem(make_crl(re_keyed.certificate(), {}).get());
  for (const std::string& text : {old_list + new_list, new_list + old_list}) {
    pki.files.crls = {pki.dir.write("a.crl", text)};
    const auto credentials = pki.load();
    ASSERT_TRUE(credentials) << credentials.error().message();
    EXPECT_THAT((*credentials)->warnings(),
                ElementsAre(AllOf(HasSubstr("a.crl:"), HasSubstr("no certificate of CN=Test Root"),
                                  HasSubstr("add the new certificate"))));
  }
  pki.files.ca.push_back({std::nullopt, pki.dir.write("new.pem", re_keyed.cert_pem())});
  const auto both = pki.load();
  ASSERT_TRUE(both) << both.error().message();
  EXPECT_THAT((*both)->warnings(), ElementsAre());
}

TEST_F(CrlFile, OfAReKeyedAnchorIsRefusedWhereNoAnchorIsLeftWithAList) {
  const TestAuthority re_keyed;
  const std::string new_list = to_pem(make_crl(re_keyed.certificate(), {}).get());
  EXPECT_THAT(error_with(new_list),
              AllOf(HasSubstr("a.crl:1: no certificate of CN=Test Root in --ca has the key"),
                    HasSubstr("add the new certificate")));
  const TestAuthority other("Other");
  pki.files.ca.push_back({std::nullopt, pki.dir.write("other.pem", other.cert_pem())});
  EXPECT_EQ(error_with(new_list + to_pem(make_crl(other.certificate(), {}).get())), "");
}

TEST_F(CrlFile, IsRefusedForABadSignatureOfTheKeyThatItNames) {
  const TestCertificate& root = pki.authority.certificate();
  TestCertificate impostor = root;
  impostor.key = test::make_key(test::KeyType::kEcdsaP256);
  const std::string good = to_pem(make_crl(root, {}).get());
  const std::string bad = to_pem(
      make_crl(impostor, {.extensions = {{"authorityKeyIdentifier", "keyid:always"}}}).get());
  EXPECT_THAT(error_with(good + bad), HasSubstr("CRL with a bad signature"));
}

TEST_F(CrlFile, RevokesItsAnchorWhateverItsCertificateOutOfDateSays) {
  const TestCertificate& root = pki.authority.certificate();
  const X509Ptr expired(X509_dup(root.x509.get()));
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(expired.get()), 4711);
  X509_gmtime_adj(X509_getm_notBefore(expired.get()), -7200);
  X509_gmtime_adj(X509_getm_notAfter(expired.get()), -3600);
  ASSERT_GT(X509_sign(expired.get(), root.key.get(), EVP_sha256()), 0);
  pki.files.ca = {{std::nullopt, pki.dir.write("twins.pem", pki.authority.cert_pem() +
                                                                test::to_pem(expired.get()))}};
  PeerTrust trust;
  trust.identity.dns = {"web"};
  trust.anchor_name = name_hash(X509_get_subject_name(root.x509.get()));
  trust.anchor_key = public_key_hash(root.x509.get());
  trust.links = {make_link(pki.client().x509.get())};
  trust.links[0].crl_key = trust.anchor_key;
  trust.not_after = std::chrono::sys_seconds::max();
  EXPECT_EQ(error_with(to_pem(make_crl(root, {.serials = {root.serial}}).get())), "");
  EXPECT_EQ(to_string((*pki.load())->judge(trust, wall_clock_now()).result()),
            "certificate_revoked");
}

// A renewed anchor has the same key, by which chains know it.
TEST_F(CrlFile, RevokesItsOwnAnchorUntilThatIsRenewed) {
  const TestCertificate& root = pki.authority.certificate();
  const TestCertificate leaf = pki.client();
  PeerTrust trust;
  trust.identity.dns = {"web"};
  trust.anchor_name = name_hash(X509_get_subject_name(root.x509.get()));
  trust.anchor_key = public_key_hash(root.x509.get());
  trust.links = {make_link(leaf.x509.get())};
  trust.links[0].crl_key = trust.anchor_key;
  trust.not_after = std::chrono::sys_seconds::max();
  const auto verdict = [&](const CrlSpec& spec) {
    EXPECT_EQ(error_with(to_pem(make_crl(root, spec).get())), "");
    return to_string((*pki.load())->judge(trust, wall_clock_now()).result());
  };
  EXPECT_EQ(verdict({.extensions = {{kIdp, "critical,onlyuser:TRUE"}}}), "success")
      << "the anchor needs no list";
  EXPECT_EQ(verdict({.serials = {root.serial}}), "certificate_revoked");

  const X509Ptr renewed(X509_dup(root.x509.get()));
  ASN1_INTEGER_set(X509_get_serialNumber(renewed.get()), 77);
  ASSERT_GT(X509_sign(renewed.get(), root.key.get(), EVP_sha256()), 0);
  pki.files.ca = {
      {std::nullopt, pki.dir.write("ca.pem", root.cert_pem + test::to_pem(renewed.get()))}};
  EXPECT_EQ(verdict({.serials = {root.serial}}), "success");
  EXPECT_EQ(verdict({.serials = {root.serial, 77}}), "certificate_revoked");
}

// ---- one certificate against several lists

class CrlSetTest : public ::testing::Test {
 protected:
  CrlSetTest() { link.crl_key = public_key_hash(root.certificate().x509.get()); }

  void add(const CrlSpec& spec) {
    set.add(*Crl::make(make_crl(root.certificate(), spec)), {*link.crl_key});
  }
  void add(const CrlSpec& spec, const std::string& idp) {
    CrlSpec scoped = spec;
    scoped.extensions.push_back({kIdp, "critical," + idp});
    add(scoped);
  }
  std::string_view verdict(std::chrono::seconds later = 0s) const {
    return to_string(set.check(link, wall_clock_now() + later));
  }
  void name_points(std::initializer_list<const char*> urls) {
    std::string value;
    for (const char* url : urls) value += (value.empty() ? "URI:" : ",URI:") + std::string(url);
    link.crl_points = crl_points(
        reissue(leaf, root.certificate(), {{"crlDistributionPoints", value}}).x509.get());
  }

  const TestAuthority root;
  const TestCertificate leaf = root.issue({});
  PeerTrust::Link link = make_link(leaf.x509.get());
  CrlSet set;
};

TEST_F(CrlSetTest, DoesNotCoverAKindThatItsListsLeaveOut) {
  add({}, "onlyCA:TRUE");
  EXPECT_EQ(verdict(), "crl_unavailable");
  link.ca = true;
  EXPECT_EQ(verdict(), "success");
}

TEST_F(CrlSetTest, DoesNotCoverCertificatesOfAnotherKey) {
  add({});
  link.crl_key = Sha256{1};
  EXPECT_EQ(verdict(), "crl_unavailable");
  link.crl_key.reset();
  EXPECT_EQ(verdict(), "crl_unavailable") << "the issuer may not sign lists";
}

// Signatures of lists are known once the issuer has been seen.
TEST_F(CrlSetTest, LearnsTheSignersOfItsLists) {
  set.add(*Crl::make(make_crl(root.certificate(), {})), {});
  EXPECT_EQ(verdict(), "crl_unavailable");
  const auto learn = [&](const TestAuthority& issuer) {
    const BareStackPtr chain(sk_X509_new_null());
    sk_X509_push(chain.get(), leaf.x509.get());
    sk_X509_push(chain.get(), issuer.certificate().x509.get());
    set.learn_issuers(chain.get(), make_peer_trust(chain.get(), {}).links);
  };
  learn(TestAuthority());
  EXPECT_EQ(verdict(), "crl_unavailable") << "the same name with another key";
  learn(root);
  EXPECT_EQ(verdict(), "success");
}

TEST_F(CrlSetTest, ChecksAListAgainstTheKeyOfItsIssuerWhateverOthersWereTried) {
  set.add(*Crl::make(make_crl(root.certificate(), {})), {});
  const auto learn_key_of = [&](const TestAuthority& issuer, const Sha256& as) {
    const BareStackPtr chain(sk_X509_new_null());
    sk_X509_push(chain.get(), leaf.x509.get());
    sk_X509_push(chain.get(), issuer.certificate().x509.get());
    link.crl_key = as;
    set.learn_issuers(chain.get(), std::span(&link, 1));
  };
  const TestAuthority stranger;
  for (std::uint8_t other = 1; other < 100; ++other) {
    learn_key_of(stranger, Sha256{other});
    EXPECT_EQ(verdict(), "crl_unavailable");
  }
  learn_key_of(root, public_key_hash(root.certificate().x509.get()));
  EXPECT_EQ(verdict(), "success");
}

// A chain that one generation has verified may have to be judged by the lists of the next.
TEST_F(CrlSetTest, SharesTheIssuersThatAnotherHasSeen) {
  const BareStackPtr chain(sk_X509_new_null());
  sk_X509_push(chain.get(), leaf.x509.get());
  sk_X509_push(chain.get(), root.certificate().x509.get());
  const CrlSet before;
  set.add(*Crl::make(make_crl(root.certificate(), {.serials = {leaf.serial}})), {});
  set.share_issuers(before);
  EXPECT_EQ(verdict(), "crl_unavailable");
  before.learn_issuers(chain.get(), make_peer_trust(chain.get(), {}).links);
  EXPECT_EQ(verdict(), "certificate_revoked");
}

// The signature of a long list takes milliseconds, which a shard that judges has not got.
TEST_F(CrlSetTest, VerifiesItsListsWhenItGetsTheIssuersThatAnotherHasSeen) {
  const BareStackPtr chain(sk_X509_new_null());
  sk_X509_push(chain.get(), leaf.x509.get());
  sk_X509_push(chain.get(), root.certificate().x509.get());
  const CrlSet before;
  before.learn_issuers(chain.get(), make_peer_trust(chain.get(), {}).links);
  set.add(*Crl::make(make_crl(root.certificate(), {})), {});
  set.share_issuers(before);
  set.share_issuers(CrlSet());
  EXPECT_EQ(verdict(), "success") << "without a key";
}

TEST_F(CrlSetTest, HoldsTheLatestListOfEachScope) {
  add({.serials = {leaf.serial}, .this_update = -5h});
  EXPECT_EQ(verdict(), "certificate_revoked");
  add({.this_update = -1h}, "onlyuser:TRUE");
  EXPECT_EQ(verdict(), "certificate_revoked") << "another scope";
  add({.this_update = -2h});
  EXPECT_EQ(verdict(), "success");
  EXPECT_EQ(verdict(-3h), "certificate_revoked") << "the later one was not yet in force";
}

TEST_F(CrlSetTest, LetsNoExpiredListTakeThePlaceOfAnOlderOne) {
  add({.serials = {leaf.serial}, .this_update = -5h});
  add({.this_update = -2h, .next_update = -1h});
  EXPECT_EQ(verdict(), "certificate_revoked");
  set.accept_expired(true);
  EXPECT_EQ(verdict(), "certificate_revoked");
}

TEST_F(CrlSetTest, MatchesTheDistributionPointThatACertificateNames) {
  add({}, "fullname:URI:http://ca/1");
  name_points({"http://ca/2"});
  EXPECT_EQ(verdict(), "crl_unavailable");
  name_points({"http://ca/2", "http://ca/1"});
  EXPECT_EQ(verdict(), "success");
  add({.serials = {leaf.serial}}, "fullname:URI:http://ca/3");
  EXPECT_EQ(verdict(), "success") << "the list of another point";
}

// It may belong to any of them.
TEST_F(CrlSetTest, HoldsACertificateThatNamesNoPointAgainstAllLists) {
  add({}, "fullname:URI:http://ca/1");
  EXPECT_EQ(verdict(), "success");
  add({.next_update = -1min}, "fullname:URI:http://ca/2");
  EXPECT_EQ(verdict(), "crl_expired") << "the second may have had it";
  add({});
  EXPECT_EQ(verdict(), "success") << "a complete list";
  add({.serials = {leaf.serial}}, "fullname:URI:http://ca/3");
  EXPECT_EQ(verdict(), "certificate_revoked");
}

TEST_F(CrlSetTest, DoesNotMatchAPointForSomeReasonsOrOfAnotherIssuer) {
  add({}, "fullname:URI:http://ca/1");
  // DistributionPoints of the fullName http://ca/1, with reasons and with a cRLIssuer.
  for (const char* value : {"DER:30173015A00FA00D860B687474703A2F2F63612F3181020640",
                            "DER:30193017A00FA00D860B687474703A2F2F63612F31A20482027879",
                            "DER:0500"}) {  // cannot be decoded
    link.crl_points = crl_points(
        reissue(leaf, root.certificate(), {{"crlDistributionPoints", value}}).x509.get());
    EXPECT_EQ(verdict(), "crl_unavailable") << value;
  }
  add({});
  EXPECT_EQ(verdict(), "success") << "a complete list covers all of them";
}

}  // namespace
}  // namespace sallyport::ktls::testing
