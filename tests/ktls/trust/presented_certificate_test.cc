#include "ktls/trust/presented_certificate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/x509.h>

#include <string>

#include "ktls/base/openssl_handles.h"
#include "ktls/trust/x509_facts.h"
#include "tests/support/pki.h"

namespace sallyport::ktls {
namespace {

using testing::ElementsAre;

const test::TestAuthority& root() {
  static const test::TestAuthority made("Mesh Root");
  return made;
}

PresentedCertificate presented_by(const test::LeafSpec& spec) {
  return presented(root().issue(spec).x509.get());
}

TEST(PresentedCertificate, NamesTheLeafAndClaimsNothingVerified) {
  const auto leaf = root().issue({.cn = "web",
                                  .dns = {"Web.example.org", "*.example.org"},
                                  .spiffe = {"spiffe://example.org/web"}});
  const PresentedCertificate shown = presented(leaf.x509.get());
  EXPECT_EQ(shown.spiffe, "spiffe://example.org/web");
  EXPECT_THAT(shown.dns, ElementsAre("dns:Web.example.org", "dns:*.example.org"));
  EXPECT_EQ(shown.subject, "CN=web");
  EXPECT_EQ(shown.issuer, "CN=Mesh Root");
  EXPECT_EQ(shown.serial, serial_text(X509_get0_serialNumber(leaf.x509.get())));
  EXPECT_EQ(shown.not_after, to_time(X509_get0_notAfter(leaf.x509.get())));
  EXPECT_FALSE(shown.verified);
}

TEST(PresentedCertificate, ShowsASpiffeIdThatIsMalformed) {
  EXPECT_EQ(presented_by({.spiffe = {"https://a/", "SPIFFE://b//%00", "spiffe://c"}}).spiffe,
            "SPIFFE://b//%00");
}

TEST(PresentedCertificate, IsCutToEightNamesOf256Bytes) {
  const std::string longer(300, 'x');
  const PresentedCertificate shown =
      presented_by({.dns = std::vector<std::string>(20, longer), .spiffe = {"spiffe://" + longer}});
  EXPECT_EQ(shown.spiffe.size(), 256U);
  ASSERT_EQ(shown.dns.size(), 8U);
  EXPECT_EQ(shown.dns[7], "dns:" + longer.substr(0, 252));
}

TEST(PresentedCertificate, OfAPeerIsWhatWasVerified) {
  PeerTrust trust;
  trust.identity = {"spiffe://td/a", {"a", "b"}};
  trust.links = {{.issuer = {}, .serial = "\x0f\xff"}};
  trust.leaf = {.subject = "CN=a",
                .issuer = "CN=ca",
                .not_after = std::chrono::sys_seconds(std::chrono::seconds(7))};
  const PresentedCertificate shown = presented(trust);
  EXPECT_EQ(shown.spiffe, "spiffe://td/a");
  EXPECT_THAT(shown.dns, ElementsAre("dns:a", "dns:b"));
  EXPECT_EQ(shown.subject, "CN=a");
  EXPECT_EQ(shown.serial, "0FFF");
  EXPECT_EQ(shown.issuer, "CN=ca");
  EXPECT_EQ(shown.not_after, trust.leaf.not_after);
  EXPECT_TRUE(shown.verified);
}

TEST(Cut, EndsBetweenCharacters) {
  const std::string most(256, 'x');
  EXPECT_EQ(cut(most), most);
  EXPECT_EQ(cut(most + "x"), most);
  EXPECT_EQ(cut(most.substr(1) + "\xC3\xA4"), most.substr(1));
  EXPECT_EQ(cut(std::string(300, '\x80')), "");  // no UTF-8 at all
}

TEST(SerialText, IsTheSameOfTheDerContent) {
  for (const std::int64_t number :
       {std::int64_t{0}, std::int64_t{1}, std::int64_t{127}, std::int64_t{128}, std::int64_t{255},
        std::int64_t{0x7fffffffffff}, std::int64_t{-1}, std::int64_t{-128}, std::int64_t{-129}}) {
    const OpensslPtr<ASN1_INTEGER, ASN1_INTEGER_free> serial(ASN1_INTEGER_new());
    ASSERT_EQ(ASN1_INTEGER_set_int64(serial.get(), number), 1);
    EXPECT_EQ(serial_text(serial_bytes(serial.get())), serial_text(serial.get())) << number;
  }
}

}  // namespace
}  // namespace sallyport::ktls
