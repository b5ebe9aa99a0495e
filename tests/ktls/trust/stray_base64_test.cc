#include "ktls/trust/stray_base64.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <algorithm>
#include <string>
#include <string_view>

namespace sallyport::ktls {
namespace {

using namespace std::string_literals;

std::string base64(std::string_view bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');
  text.resize(static_cast<std::size_t>(EVP_EncodeBlock(
      reinterpret_cast<unsigned char*>(text.data()),
      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()))));
  return text;
}

// What files of each kind begin with.
constexpr const char* kBeginnings[] = {
    "MIIBtjCCAVugAwIB",      // certificate
    "MIICETCCAXoCCQD/",      // certificate of version 1
    "MIIB0TCCATYCAQEw",      // certificate or CRL whose version is no [0]
    "MIHxMIGXAgEBMAoG",      // small CRL, version 2
    "MIG1MF0wCgYIKoZI",      // small CRL, version 1
    "MIMBhqAwgwGGIDAN",      // CRL of 100,000 bytes
    "MIQAAYagMIQAAYYgMA0G",  // the same, with the length in four bytes
    "MIIEvAIBADANBgkq",      // PKCS #8, RSA
    "MIGHAgEAMBMGByqG",      // PKCS #8, P-256
    "MC4CAQAwBQYDK2Vw",      // PKCS #8, Ed25519
    "MIIFLTBXBgkqhkiG",      // PKCS #8, encrypted
    "MIIEowIBAAKCAQEA",      // PKCS #1
    "MHcCAQEEIDm0KsPn",      // SEC 1, P-256
    "MIIBIjANBgkqhkiG",      // public key, RSA
    "MFkwEwYHKoZIzj0C",      // public key, P-256
    "MCowBQYDK2VwAyEA",      // public key, Ed25519
    "MIIBCAKCAQEAxN9Z",      // DH parameters
    "MIIKpwIBAzCCCl0G",      // PKCS #12
    "MIIGewYJKoZIhvcN",      // PKCS #7
};

TEST(StrayBase64, IsTheBeginningOfAnObjectAnywhereInALine) {
  for (const std::string digits : kBeginnings) {
    for (const std::string before : {"", "  ", "cert=", "cert: \"", "{\"x5c\":[\"", "> ", "# ",
                                     "<X509Certificate>", "BEGIN\\n", "%0A", "key-", "/", "DER1"}) {
      EXPECT_TRUE(holds_base64(before + digits)) << before << digits;
      EXPECT_TRUE(holds_base64(before + digits + "\"]}")) << before << digits;
    }
  }
}

TEST(StrayBase64, IsTheBeginningOfAnObjectInBase64url) {
  for (const std::string_view head : {"\x30\x82\x03\xef\x30\x82\x02\xff\xa0\x03\x02\x01"s,
                                      "\x30\x82\x0f\xbf\x30\x82\x0f\x8f\xa0\x03\x02\x01"s}) {
    std::string digits = base64(head);
    EXPECT_TRUE(holds_base64(digits)) << digits;
    std::ranges::replace(digits, '+', '-');
    std::ranges::replace(digits, '/', '_');
    EXPECT_TRUE(holds_base64(digits)) << digits;
  }
}

TEST(StrayBase64, IsNoObjectWhereItsHeadsSayOtherwise) {
  for (const std::string& head : {
           "\x31\x82\x03\xef\x30\x82\x02\xff\xa0\x03\x02\x01"s,  // a SET
           "\x30\x82\x03\xef\x31\x82\x02\xff\xa0\x03\x02\x01"s,  // a SET first
           "\x30\x82\x02\xff\x30\x82\x03\xef\xa0\x03\x02\x01"s,  // longer than the whole
           "\x30\x82\x03\xef\x30\x82\x02\xff\x0c\x03\x02\x01"s,  // a UTF8String first
           "\x30\x85\x01\x01\x01\x01\x01\x30\x03\x02\x01\x01"s,  // length in five bytes
           "\x30\x82\x03\xef\x02\x01\x09\x30\x03\x02\x01\x01"s,  // a version that there is not
           "\x30\x82\x03\xef\x06\x09\x55\x30\x03\x02\x01\x01"s,  // another object identifier
           "\x30\x82\x03\xef\x30\x82\x02\xff"s,                  // too short to tell
       }) {
    EXPECT_FALSE(holds_base64(base64(head))) << base64(head);
  }
}

TEST(StrayBase64, IsAPemFileInBase64) {
  for (const std::string before : {"", "#", "##", "# roots\n", "\xef\xbb\xbf"}) {
    const std::string digits = base64(before + "-----BEGIN ");
    EXPECT_TRUE(holds_base64("ca.crt: " + digits)) << digits;
    EXPECT_FALSE(holds_base64("ca.crt: " + base64(before + "-----begin "))) << before;
  }
}

TEST(StrayBase64, IsALongMixedWord) {
  const std::string digits = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJ+YdmC7";
  ASSERT_EQ(digits.size(), 48U);
  EXPECT_TRUE(holds_base64(digits));
  EXPECT_TRUE(holds_base64("data: '" + digits + "'"));
  EXPECT_TRUE(holds_base64(base64("the comment of an author before his first block")));
  EXPECT_FALSE(holds_base64(digits.substr(1)));
  EXPECT_FALSE(holds_base64(digits.substr(0, 24) + "/" + digits.substr(24))) << "as in a path";
}

constexpr const char* kTexts[] = {
    "",
    "---------------------------------------------------------------------------",
    "===========================================================================",
    "///////////////////////////////////////////////////////////////////////////",
    "++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++",
    "# SHA256 Fingerprint: 17:93:92:7a:06:14:54:97:89:ad:ce:2f:8f:34:f7:f0:b6:6d:0f:3a:e3",
    "SHA256/17937A0614549789ADCE2F8F34F7F0B66D0F3AE3A3B84D21EC15DBBA4FADC717",
    "17937a0614549789adce2f8f34f7f0b66d0f3ae3a3b84d21ec15dbba4fadc717",
    "17937A0614549789ADCE2F8F34F7F0B66D0F3AE3A3B84D21EC15DBBA4FADC717",
    "# Serial: 415782838678660826926382566892815197079389706",
    "pin-sha256:r/mIkG3eEpVdm+u/ko/cwxzOMo1bk4TyHIlByibiA5E=",
    "subject=C = US, O = \"Example, Inc.\", CN = MICROSOFTINTERNALROOTCERTIFICATIONAUTHORITY",
    "issuer=/C=FR/O=MINISTEREDESARMEESETDUSERVICEMILITAIREDECERTIFICATION/CN=AC",
    "friendlyName: MIKROTALASNAVEZAMILITARYMIGRATIONMILLIDAMIDDLEWARE",
    "localKeyID: 54 69 6D 65 20 31 37 30 30 30 30 30 30 30 30 30 30 30 ",
    "Key Attributes: <No Attributes>",
    "Microsoft CSP Name: Microsoft Enhanced Cryptographic Provider v1.0",
    "2.16.840.1.113894.746875.1.1: <Unsupported tag 6>",
    "URI:http://crl.example.com/pki/CorporateIssuingCertificateAuthority2023.crl",
    "URI:http://crl.example.com/SectigoRSAOrganizationValidationSecureServerCA2020Sha256.crl",
    "# /etc/ssl/private/platform/certificates/production/rootAuthority2024/bundle",
    "# https://git.example.org/team/platform/blob/main/pki/Roots2024/Production/README",
    "certificate-authority/8d9f7d96-63f1-4a1c-8c5b-2a2f1e1a7c3d",
    "MaintainedByTheTeamThatIsCalledPlatformAndByNobodyElseSince2019",
    "                    b0:2d:83:01:7c:7e:a4:6a:39:11:b4:3d:1a:2b:3c:4d:5e:6f:70:81:92:",
};

TEST(StrayBase64, IsNotInWhatRealFilesHoldBetweenBlocks) {
  for (const char* text : kTexts) EXPECT_FALSE(holds_base64(text)) << text;
}

}  // namespace
}  // namespace sallyport::ktls
