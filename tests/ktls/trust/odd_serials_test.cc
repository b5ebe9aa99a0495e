// Serials that RFC 5280 4.1.2.2 forbids and CAs have issued: zero, negative, longer than 20 bytes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "ktls/trust/x509_facts.h"
#include "tests/ktls/handshake/loopback.h"
#include "tests/ktls/trust/certificate_builder.h"
#include "tests/ktls/trust/crl_builder.h"

namespace sallyport::ktls::testing {
namespace {

using test::TestCertificate;
using ::testing::HasSubstr;

std::string many(char byte, std::size_t count) {
  return std::string(count, byte);
}
std::string many(std::string_view text, std::size_t count) {
  std::string all;
  for (std::size_t i = 0; i < count; ++i) all += text;
  return all;
}

struct Serial {
  std::string content;
  std::string text;
};
// Pairs of one magnitude and either sign among them.
std::vector<Serial> serials() {
  const std::string zeros = many('\0', 19);
  const std::string zeros_text = many('0', 38);
  return {
      {std::string("\x00", 1), "0"},
      {"\x01", "01"},
      {"\xff", "-01"},
      {"\x7f", "7F"},
      {"\x81", "-7F"},
      {std::string("\x00\x80", 2), "80"},
      {"\x80", "-80"},
      {std::string("\x00\xff", 2), "FF"},
      {std::string("\xff\x01", 2), "-FF"},
      {std::string("\x01\x00", 2), "0100"},
      {std::string("\xff\x00", 2), "-0100"},
      {many('\x7f', 20), many("7F", 20)},
      {std::string("\x00\x80", 2) + zeros, "80" + zeros_text},
      {"\x80" + zeros, "-80" + zeros_text},
      {many('\x7f', 64), many("7F", 64)},
      {many('\x81', 64), "-" + many("7E", 63) + "7F"},
  };
}

class OddSerial : public ::testing::Test {
 protected:
  X509Ptr leaf(const std::string& serial) const {
    return make_certificate({.subject = "leaf",
                             .key = root_.key.get(),
                             .issuer = root_.x509.get(),
                             .signer = root_.key.get(),
                             .extensions = {{"subjectAltName", "DNS:leaf.test"}},
                             .serial = serial});
  }
  std::shared_ptr<ServerContext> context_with(const CrlSpec& list) {
    pki_.files.crls = {pki_.dir.write("list.crl", to_pem(make_crl(root_, list).get()))};
    return pki_.context();
  }
  static std::expected<std::shared_ptr<const PeerTrust>, RefusedCertificates> verify(
      const ServerContext& context, const X509* certificate) {
    return context.verify_client({{to_der(certificate)}});
  }

  TestServer pki_;
  const TestCertificate root_ = pki_.authority.certificate();
  const std::shared_ptr<EVP_PKEY> own_key_ = test::make_key(test::KeyType::kEcdsaP256);
};

// Each against a list of it alone, and against a list of all the others.
TEST_F(OddSerial, IsRevokedByItsOwnEntryAndNoOther) {
  std::vector<X509Ptr> leaves;
  for (const Serial& each : serials()) leaves.push_back(leaf(each.content));
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    const Serial serial = serials()[i];
    SCOPED_TRACE(serial.text);
    CrlSpec others;
    for (std::size_t j = 0; j < leaves.size(); ++j)
      if (j != i) others.odd_serials.push_back(serials()[j].content);
    const auto alone = context_with({.odd_serials = {serial.content}});
    const auto refused = verify(*alone, leaves[i].get());
    ASSERT_FALSE(refused);
    EXPECT_EQ(to_string(refused.error().failure.result), "certificate_revoked");
    EXPECT_EQ(refused.error().failure.serial, serial.text);

    const auto among_others = context_with(others);
    const auto let_in = verify(*among_others, leaves[i].get());
    ASSERT_TRUE(let_in) << let_in.error().failure.detail;
    EXPECT_EQ((*let_in)->links.at(0).serial, serial.content);
    EXPECT_EQ(serial_text((*let_in)->links.at(0).serial), refused.error().failure.serial);
    // As of a ticket, and of a live connection.
    const auto trust = PeerTrust::parse((*let_in)->serialise());
    ASSERT_TRUE(trust);
    EXPECT_EQ(to_string(among_others->credentials().judge(*trust, wall_clock_now()).result()),
              "success");
    EXPECT_EQ(to_string(alone->credentials().judge(*trust, wall_clock_now()).result()),
              "certificate_revoked");
  }
}

TEST_F(OddSerial, OfMoreThan64BytesIsMalformedRevokedOrNot) {
  for (const std::size_t bytes : {65U, 127U, 128U, 130U, 300U}) {
    const std::string content = many('\x7f', bytes);
    const X509Ptr certificate = leaf(content);
    for (const CrlSpec& list : {CrlSpec{}, CrlSpec{.odd_serials = {content}}}) {
      const auto refused = verify(*context_with(list), certificate.get());
      ASSERT_FALSE(refused);
      const HandshakeFailure& failure = refused.error().failure;
      EXPECT_EQ(to_string(failure.result), "certificate_malformed");
      EXPECT_THAT(failure.detail, HasSubstr("serial number of more than 64 bytes"));
      EXPECT_EQ(failure.serial.size(),
                bytes > 128 ? std::string("of 130 bytes").size() : 2 * bytes);
    }
  }
}

// Of an intermediate as of a leaf.
TEST_F(OddSerial, OfAnIssuerIsJudgedAlike) {
  for (const Serial& serial : serials()) {
    SCOPED_TRACE(serial.text);
    const X509Ptr between =
        make_certificate({.subject = "Issuing",
                          .key = own_key_.get(),
                          .issuer = root_.x509.get(),
                          .signer = root_.key.get(),
                          .extensions = {{"basicConstraints", "critical,CA:TRUE"},
                                         {"keyUsage", "critical,keyCertSign,cRLSign"}},
                          .serial = serial.content});
    const X509Ptr below = make_certificate({.subject = "leaf",
                                            .key = own_key_.get(),
                                            .issuer = between.get(),
                                            .signer = own_key_.get(),
                                            .extensions = {{"subjectAltName", "DNS:leaf.test"}}});
    TestCertificate issuing;
    issuing.x509 = {X509_dup(between.get()), X509_free};
    issuing.key = own_key_;
    const std::string covers = to_pem(make_crl(issuing, {}).get());
    pki_.files.crls = {pki_.dir.write(
        "both.crl", covers + to_pem(make_crl(root_, {.odd_serials = {serial.content}}).get()))};
    const auto refused =
        pki_.context()->verify_client({{to_der(below.get()), to_der(between.get())}});
    ASSERT_FALSE(refused);
    EXPECT_EQ(to_string(refused.error().failure.result), "certificate_revoked");
    pki_.files.crls = {
        pki_.dir.write("both.crl", covers + to_pem(make_crl(root_, {.serials = {4711}}).get()))};
    EXPECT_TRUE(pki_.context()->verify_client({{to_der(below.get()), to_der(between.get())}}));
  }
}

// Whose serial is in no PeerTrust, and so of any size.
TEST_F(OddSerial, OfAnAnchorIsFoundInItsOwnListWhateverItsSize) {
  const X509Ptr good = leaf("\x05");
  for (const std::size_t bytes : {1U, 20U, 64U, 65U, 127U, 128U, 130U, 255U, 256U, 300U}) {
    SCOPED_TRACE(bytes);
    const std::string content = many('\x7f', bytes);
    CertificateSpec spec{.subject = "Test Root",
                         .key = root_.key.get(),
                         .signer = root_.key.get(),
                         .extensions = {{"basicConstraints", "critical,CA:TRUE"}},
                         .serial = content};
    const X509Ptr anchor = make_certificate(spec);
    pki_.files.ca = {{std::nullopt, pki_.dir.write("odd.pem", test::to_pem(anchor.get()))}};
    const auto let_in = verify(*context_with({.odd_serials = {content + "\x7f"}}), good.get());
    EXPECT_TRUE(let_in) << let_in.error().failure.detail;
    const auto refused = verify(*context_with({.odd_serials = {content}}), good.get());
    ASSERT_FALSE(refused);
    EXPECT_EQ(to_string(refused.error().failure.result), "certificate_revoked");
  }
}

}  // namespace
}  // namespace sallyport::ktls::testing
