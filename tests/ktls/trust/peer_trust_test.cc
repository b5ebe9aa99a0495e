#include "ktls/trust/peer_trust.h"

#include <gtest/gtest.h>
#include <openssl/x509.h>

#include <algorithm>
#include <span>

#include "ktls/base/openssl_handles.h"
#include "ktls/trust/tickets.h"
#include "ktls/trust/x509_facts.h"
#include "tests/support/pki.h"

namespace sallyport::ktls {
namespace {

PeerTrust some_trust() {
  PeerTrust trust;
  trust.identity = {"spiffe://td/a", {"a.example.org", "b"}};
  trust.anchor_name.fill(6);
  trust.anchor_key.fill(7);
  trust.links = {
      {{1, 2, 3}, "\x01\x02", Sha256{8}, false, {{5}, {6}}},
      {{4}, std::string("\0\xff", 2), trust.anchor_key, true},
      {{9}, "\x03"},
  };
  trust.not_after = std::chrono::sys_seconds(std::chrono::seconds(1'900'000'000));
  trust.leaf = {.subject = "CN=a",
                .issuer = "CN=b",
                .not_before = std::chrono::sys_seconds(std::chrono::seconds(1'800'000'000)),
                .not_after = std::chrono::sys_seconds(std::chrono::seconds(2'000'000'000))};
  return trust;
}

struct StackDelete {
  void operator()(STACK_OF(X509) * stack) const { sk_X509_free(stack); }
};

PeerTrust trust_of(std::initializer_list<X509*> chain) {
  const std::unique_ptr<STACK_OF(X509), StackDelete> stack(sk_X509_new_null());
  for (X509* certificate : chain) sk_X509_push(stack.get(), certificate);
  return make_peer_trust(stack.get(), {});
}

NameHash hash_of(int type, const std::string& value) {
  const std::unique_ptr<X509_NAME, OpensslDelete<X509_NAME_free>> name(X509_NAME_new());
  X509_NAME_add_entry_by_txt(name.get(), "O", type,
                             reinterpret_cast<const unsigned char*>(value.data()),
                             static_cast<int>(value.size()), -1, 0);
  return name_hash(name.get());
}

TEST(PeerTrust, SurvivesSerialising) {
  EXPECT_EQ(PeerTrust::parse(some_trust().serialise()), some_trust());
  EXPECT_EQ(PeerTrust::parse(PeerTrust{}.serialise()), PeerTrust{});
}

TEST(PeerTrust, IsSmall) {
  const test::TestAuthority root;
  const auto leaf = root.issue({.spiffe = {"spiffe://example.org/ns/shop/sa/web"}});
  PeerTrust trust = trust_of({leaf.x509.get(), root.certificate().x509.get()});
  trust.identity = *identify(leaf.x509.get());
  EXPECT_LE(trust.serialise().size(), 200U);
}

TEST(PeerTrust, IsNotParsedFromAPieceOrWithARest) {
  std::vector<std::byte> bytes = some_trust().serialise();
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(PeerTrust::parse(std::span(bytes).first(size))) << size;
  bytes.push_back(std::byte{0});
  EXPECT_FALSE(PeerTrust::parse(bytes));
  bytes = some_trust().serialise();
  bytes.front() = std::byte{99};
  EXPECT_FALSE(PeerTrust::parse(bytes)) << "another version";
}

TEST(PeerTrust, OfATicketSurvivesSerialising) {
  const TicketContent content{some_trust(), std::chrono::sys_seconds(std::chrono::seconds(1234))};
  const std::vector<std::byte> bytes = content.serialise();
  const auto parsed = TicketContent::parse(bytes);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->trust, content.trust);
  EXPECT_EQ(parsed->authenticated_at, content.authenticated_at);
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(TicketContent::parse(std::span(bytes).first(size))) << size;
}

TEST(PeerTrust, HoldsEachSerialAndTheEarliestExpiry) {
  const test::TestAuthority root;
  const auto issuing =
      root.intermediate("Issuing", test::KeyType::kEcdsaP256, std::chrono::hours(2));
  const auto leaf = issuing.issue({.not_after = std::chrono::hours(5)});
  X509* issuing_x509 = issuing.certificate().x509.get();
  X509* root_x509 = root.certificate().x509.get();
  const PeerTrust trust = trust_of({leaf.x509.get(), issuing_x509, root_x509});
  EXPECT_EQ(trust.anchor_name, name_hash(X509_get_subject_name(root_x509)));
  EXPECT_EQ(trust.anchor_key, public_key_hash(root_x509));
  ASSERT_EQ(trust.links.size(), 2U);
  EXPECT_EQ(trust.links[0].issuer, name_hash(X509_get_subject_name(issuing_x509)));
  EXPECT_EQ(trust.links[0].serial, serial_bytes(X509_get0_serialNumber(leaf.x509.get())));
  EXPECT_EQ(trust.links[1].issuer, name_hash(X509_get_subject_name(root_x509)));
  EXPECT_EQ(trust.links[0].crl_key, public_key_hash(issuing_x509));
  EXPECT_EQ(trust.links[1].crl_key, trust.anchor_key);
  EXPECT_FALSE(trust.links[0].ca);
  EXPECT_TRUE(trust.links[1].ca);
  EXPECT_EQ(trust.not_after, to_time(X509_get0_notAfter(issuing_x509)));
}

TEST(PeerTrust, LeavesTheExpiryOfItsAnchorToTheBundle) {
  const test::TestAuthority root("Root", test::KeyType::kEcdsaP256, std::chrono::hours(1));
  const auto leaf = root.issue({.not_after = std::chrono::hours(5)});
  const PeerTrust trust = trust_of({leaf.x509.get(), root.certificate().x509.get()});
  EXPECT_EQ(trust.not_after, to_time(X509_get0_notAfter(leaf.x509.get())));
}

// A bundle may hold a peer's own self-signed certificate: it needs a list as other leaves do.
TEST(PeerTrust, HasALinkForALeafThatIsItsOwnAnchor) {
  const auto own = test::self_signed({.dns = {"web"}});
  const PeerTrust trust = trust_of({own.x509.get()});
  ASSERT_EQ(trust.links.size(), 1U);
  EXPECT_EQ(trust.links[0].issuer, name_hash(X509_get_subject_name(own.x509.get())));
  EXPECT_EQ(trust.links[0].crl_key, std::nullopt) << "without cRLSign";
}

TEST(PeerTrust, IsParsedFromItsOwnFormAlone) {
  PeerTrust trust;
  trust.anchor_key.fill(7);
  const Sha256 own{8};
  trust.links = {{{1}, "\x01", own}};
  std::vector<std::byte> bytes = trust.serialise();
  const auto key = std::ranges::search(bytes, std::as_bytes(std::span(own)));
  std::ranges::fill(key, std::byte{7});
  EXPECT_FALSE(PeerTrust::parse(bytes)) << "the anchor's key is not written twice";
  bytes = trust.serialise();
  const auto bits = std::ranges::find(bytes, std::byte{4});
  for (const int unknown : {6, 7, 8, 0x84}) {
    *bits = static_cast<std::byte>(unknown);
    EXPECT_FALSE(PeerTrust::parse(bytes)) << unknown;
  }
}

TEST(PeerTrust, NamesAreEqualWhateverTheirStringTypeCaseAndBlanks) {
  const NameHash hash = hash_of(V_ASN1_UTF8STRING, "Test Root");
  EXPECT_EQ(hash, hash_of(V_ASN1_PRINTABLESTRING, "test  ROOT "));
  EXPECT_EQ(hash, hash_of(V_ASN1_UTF8STRING, "\t Test\n\rRoot\v"));
  EXPECT_NE(hash, hash_of(V_ASN1_UTF8STRING, "TestRoot"));
  EXPECT_NE(hash, hash_of(V_ASN1_UTF8STRING, "Test Root 2"));
}

// RFC 5280 7.1 folds text alone. An x500UniqueIdentifier, for one, is a BIT STRING.
TEST(PeerTrust, NamesThatAreNoTextAreEqualByteForByte) {
  const NameHash hash = hash_of(V_ASN1_BIT_STRING, "Test Root");
  EXPECT_EQ(hash, hash_of(V_ASN1_BIT_STRING, "Test Root"));
  EXPECT_NE(hash, hash_of(V_ASN1_BIT_STRING, "test root"));
  EXPECT_NE(hash, hash_of(V_ASN1_BIT_STRING, "Test  Root"));
}

TEST(PeerTrustPool, SharesEqualTrustAndForgetsUnusedTrust) {
  PeerTrustPool pool;
  const auto first = pool.intern(some_trust());
  const auto second = pool.intern(some_trust());
  EXPECT_EQ(first, second);
  for (int i = 0; i < 1000; ++i) {
    PeerTrust other = some_trust();
    other.identity.spiffe += std::to_string(i);
    (void)pool.intern(std::move(other));
  }
  EXPECT_LE(pool.size(), 64U);
  EXPECT_EQ(pool.intern(some_trust()), first);
}

}  // namespace
}  // namespace sallyport::ktls
