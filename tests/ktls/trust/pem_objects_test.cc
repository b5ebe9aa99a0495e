#include "ktls/trust/pem_objects.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "tests/ktls/trust/pem_text.h"
#include "tests/support/pki.h"

namespace sallyport::ktls {
namespace {

using test::KeyType;
using test::TestAuthority;
using test::TestCertificate;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::kBom;
using testing::replaced;
using ::testing::StartsWith;

const std::string kEcParameters =
    "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";

template <class Write>
std::string written(Write write) {
  const BioPtr out(BIO_new(BIO_s_mem()));
  EXPECT_EQ(write(out.get()), 1);
  char* data = nullptr;
  const long size = BIO_get_mem_data(out.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

std::string pem(const std::string& label, std::string_view der) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(der.data());
  return written([&](BIO* out) {
    return PEM_write_bio(out, label.c_str(), "", bytes, static_cast<long>(der.size())) > 0 ? 1 : 0;
  });
}

std::string der_of(const TestCertificate& certificate) {
  const auto der = test::to_der(certificate.x509.get());
  return {der.begin(), der.end()};
}

std::string crl_der(const std::string& crl_pem) {
  const auto crls = parse_crls(crl_pem, "f");
  EXPECT_TRUE(crls);
  return written([&](BIO* out) { return i2d_X509_CRL_bio(out, crls->front().crl.get()); });
}

/// With OpenSSL's own settings: trusted for one purpose, rejected for another; NID_undef: none.
std::string trusted_pem(const TestCertificate& certificate, int trusted, int rejected) {
  const X509Ptr copy(X509_dup(certificate.x509.get()));
  if (trusted != NID_undef) X509_add1_trust_object(copy.get(), OBJ_nid2obj(trusted));
  if (rejected != NID_undef) X509_add1_reject_object(copy.get(), OBJ_nid2obj(rejected));
  return written([&](BIO* out) { return PEM_write_bio_X509_AUX(out, copy.get()); });
}

// The lines at which things were found, or the error.
template <class Found>
std::vector<std::string> lines_of(const Found& found) {
  if (!found) return {found.error().message()};
  std::vector<std::string> lines;
  for (const auto& each : *found) {
    const std::optional<unsigned> line = each.line;
    lines.push_back(line ? std::to_string(*line) : "DER");
  }
  return lines;
}

std::vector<std::string> trusted(const std::string& text) {
  return lines_of(parse_certificates(text, "f", CertificateUse::kTrusted));
}
std::vector<std::string> chain_of(const std::string& text) {
  return lines_of(parse_certificates(text, "f", CertificateUse::kPresented));
}
std::vector<std::string> crls(const std::string& text) {
  return lines_of(parse_crls(text, "f"));
}
std::string key_error(const std::string& text) {
  const auto key = parse_private_key(text, "f");
  return key ? "" : key.error().message();
}

class PemObjects : public ::testing::Test {
 protected:
  TestAuthority root{"Root"};
  TestCertificate leaf = root.issue({});
  const std::string ca = root.cert_pem();
};

TEST_F(PemObjects, AreCertificatesUnderEachOfTheirLabels) {
  const std::string der = der_of(root.certificate());
  const std::string all = pem("CERTIFICATE", der) + pem("X509 CERTIFICATE", der) +
                          trusted_pem(root.certificate(), NID_client_auth, NID_server_auth) +
                          trusted_pem(root.certificate(), NID_undef, NID_undef);
  const auto found = parse_certificates(all, "f", CertificateUse::kTrusted);
  ASSERT_TRUE(found) << found.error().message();
  ASSERT_EQ(found->size(), 4U);
  for (const PemCertificate& each : *found) {
    EXPECT_EQ(X509_cmp(each.certificate.get(), root.certificate().x509.get()), 0) << each.line;
    EXPECT_EQ(X509_get0_trust_objects(each.certificate.get()), nullptr);
    EXPECT_EQ(X509_get0_reject_objects(each.certificate.get()), nullptr);
  }
}

TEST_F(PemObjects, AreNoAnchorWhereOpensslsSettingsRefuseClients) {
  const std::string other_purpose = trusted_pem(root.certificate(), NID_server_auth, NID_undef);
  const std::string rejected = trusted_pem(root.certificate(), NID_undef, NID_client_auth);
  const std::string both = trusted_pem(root.certificate(), NID_client_auth, NID_client_auth);
  const std::string only_rejected = trusted_pem(root.certificate(), NID_undef, NID_email_protect);
  for (const std::string& refusing : {other_purpose, rejected, both, only_rejected}) {
    EXPECT_THAT(trusted(refusing),
                ElementsAre(HasSubstr("f:1: TRUSTED CERTIFICATE with uses that leave out or")));
    EXPECT_THAT(chain_of(refusing), ElementsAre("1")) << "what we present is judged by others";
  }
}

TEST_F(PemObjects, StandBesideDhParametersOnlyWhereTheyArePresented) {
  const std::string parameters = pem("DH PARAMETERS", "x");
  EXPECT_THAT(chain_of(leaf.cert_pem + parameters), ElementsAre("1"));
  EXPECT_THAT(trusted(parameters + ca), ElementsAre(HasSubstr("f:1: holds a block \"DH PARAM")));
  EXPECT_EQ(key_error(parameters + leaf.key_pem), "");
}

TEST_F(PemObjects, StandBesideParametersAndPresentedOnesBesideAKey) {
  EXPECT_THAT(trusted(kEcParameters + ca), ElementsAre("4"));
  EXPECT_THAT(chain_of(kEcParameters + leaf.cert_pem + ca),
              ElementsAre("4", std::to_string(4 + std::ranges::count(leaf.cert_pem, '\n'))));
  EXPECT_THAT(trusted(leaf.key_pem + ca), ElementsAre(HasSubstr("f:1: holds a block \"PRIVATE")));
  EXPECT_THAT(chain_of(kEcParameters + leaf.key_pem + kBom + leaf.cert_pem),
              ElementsAre(std::to_string(4 + std::ranges::count(leaf.key_pem, '\n'))));
}

TEST_F(PemObjects, AreRefusedWithTheLineWhereABlockIsNotUnderstood) {
  const std::string next = ":" + std::to_string(1 + std::ranges::count(ca, '\n')) + ": ";
  const std::string der = der_of(root.certificate());
  struct Case {
    std::string text, expected;
  };
  for (const Case& bad : {
           Case{"", "holds no certificate"},
           Case{kEcParameters, "holds no certificate"},
           Case{ca + pem("CERTIFICATE REQUEST", "x"), next + "holds a block \"CERTIFICATE REQ"},
           Case{ca + pem("certificate", der), next + "holds a block \"certificate\""},
           Case{ca + root.crl(), next + "holds a block \"X509 CRL\""},
           Case{ca + pem("CERTIFICATE", der + der), next + "bad certificate: bytes behind"},
           Case{ca + pem("TRUSTED CERTIFICATE", "x"), next + "bad certificate"},
           Case{ca + pem("CERTIFICATE", der.substr(1)), next + "bad certificate"},
           Case{ca + "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
                next + "bad certificate"},
           Case{ca + "-----BEGIN CERTIFICATE-----\n# MII\n-----END CERTIFICATE-----\n",
                next + "bad certificate: is not base64"},
           Case{der, "holds a NUL byte"},
       }) {
    EXPECT_THAT(trusted(bad.text), ElementsAre(HasSubstr(bad.expected)));
    EXPECT_THAT(chain_of(bad.text), ElementsAre(HasSubstr(bad.expected)));
  }
}

// `text` with its blocks' base64 in lines of `columns`; 0: in one line.
std::string wrapped(const std::string& text, std::size_t columns) {
  const std::size_t begin = text.find('\n') + 1;
  const std::size_t end = text.rfind("-----END");
  std::string digits = text.substr(begin, end - begin);
  std::erase(digits, '\n');
  std::string body;
  for (std::size_t at = 0; at < digits.size(); at += columns == 0 ? digits.size() : columns)
    body += digits.substr(at, columns == 0 ? digits.npos : columns) + "\n";
  return text.substr(0, begin) + body + text.substr(end);
}

// One block in each form in which it was seen to be taken for text, so that the file loaded without
// it.
std::vector<std::string> spoilt_forms(const std::string& block) {
  std::vector<std::string> forms;
  for (const std::size_t columns : {16, 40, 64, 76, 0}) {
    const std::string text = wrapped(block, columns);
    const std::size_t begin = text.find('\n') + 1;
    const std::string body = text.substr(begin, text.rfind("-----END") - begin);
    for (const std::string& form :
         {replaced(replaced(text, "BEGIN ", "BEGIN\u00a0"), "END ", "END\u00a0"),
          replaced(replaced(text, "BEGIN ", "BEGIN-"), "END ", "END_"),
          replaced(replaced(text, "BEGIN", "BEGlN"), "END", "ENO"),
          replaced(text, "-----", "\u2014\u2013"), replaced(text, "-----", "====="),
          replaced(text, "-----", ""), body, "> " + replaced(body, "\n", "\n> "),
          "# " + replaced(body, "\n", "\n# "), "cert=" + body, "ca.crt: \"" + body + "\"",
          R"({"x5c":[")" + body + "\"]}", replaced("\u2014" + text, "\n", "\\n"),
          replaced(replaced(text, "-----", "====="), "\n", "\r\r\n")})
      forms.push_back(form);
    std::string encoded(text.size() * 2, '\0');
    encoded.resize(static_cast<std::size_t>(EVP_EncodeBlock(
        reinterpret_cast<unsigned char*>(encoded.data()),
        reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()))));
    for (const std::string before : {"ca.crt: ", "  ", "\"", "data='"})
      forms.push_back(before + encoded + "\n");
    forms.push_back("<!-- " + text + " -->\n");
    forms.push_back("old: # " + text);
  }
  return forms;
}

TEST_F(PemObjects, AreNotLeftOutInSilence) {
  for (const std::string& form : spoilt_forms(root.cert_pem())) {
    EXPECT_THAT(trusted(ca + form), ElementsAre(StartsWith("f:"))) << form;
    EXPECT_THAT(chain_of(ca + form), ElementsAre(StartsWith("f:"))) << form;
    EXPECT_THAT(trusted(form + ca), ElementsAre(StartsWith("f:"))) << form;
  }
  for (const std::string& form : spoilt_forms(leaf.key_pem))
    EXPECT_THAT(key_error(leaf.key_pem + form), StartsWith("f:")) << form;
  for (const std::string& list : {root.crl(), root.crl({leaf.serial})})
    for (const std::string& form : spoilt_forms(list))
      EXPECT_THAT(crls(list + form), ElementsAre(StartsWith("f:"))) << form;
}

// As `openssl x509 -text`, `openssl crl -text` and `openssl pkcs12` write it, and as bundles of
// many authorities have it.
TEST_F(PemObjects, AreReadBetweenTextOfAllSorts) {
  X509* const certificate = leaf.x509.get();
  const std::string in_words = written([&](BIO* out) { return X509_print(out, certificate); });
  const std::string bag =
      "Bag Attributes\n    localKeyID: 54 69 6D 65 20 31 37 30 30 \n    friendlyName: "
      "gateway-2026\nsubject=CN = gateway\nissuer=C = FR, O = MINISTERE, CN = Root\n"
      "Key Attributes: <No Attributes>\n";
  const std::string heading =
      "##\n## Bundle of CA Root Certificates\n##\n\nExample Root CA - G2\n====================\n"
      "# SHA256 Fingerprint: 17:93:92:7a:06:14:54:97\n"
      "17937A0614549789ADCE2F8F34F7F0B66D0F3AE3A3B84D21EC15DBBA4FADC717\n"
      "# /etc/ssl/private/platform/certificates/production/rootAuthority2024/bundle\n";
  for (const std::string& text : {in_words, bag, heading}) {
    const std::string line = std::to_string(1 + std::ranges::count(text, '\n'));
    EXPECT_THAT(trusted(text + ca + text), ElementsAre(line)) << text;
    EXPECT_EQ(key_error(text + leaf.key_pem + text), "") << text;
  }
  const std::string list = root.crl({leaf.serial});
  const auto parsed = parse_crls(list, "f");
  ASSERT_TRUE(parsed);
  const std::string list_in_words =
      written([&](BIO* out) { return X509_CRL_print(out, parsed->front().crl.get()); });
  EXPECT_THAT(crls(list_in_words + list + list_in_words),
              ElementsAre(std::to_string(1 + std::ranges::count(list_in_words, '\n'))));
}

TEST_F(PemObjects, AreOnePrivateKeyOfAnyKindAndForm) {
  for (const KeyType type :
       {KeyType::kEcdsaP256, KeyType::kEcdsaP384, KeyType::kRsa2048, KeyType::kEd25519}) {
    const TestCertificate own = root.issue({.key_type = type});
    std::string text = kBom + " " + own.key_pem;
    for (std::size_t at = 0; (at = text.find('\n', at)) != std::string::npos; at += 3)
      text.replace(at, 1, "\t\r\n");
    const auto key = parse_private_key(own.chain_pem + text + own.cert_pem, "f");
    ASSERT_TRUE(key) << key.error().message();
    EXPECT_EQ(EVP_PKEY_eq(key->get(), own.key.get()), 1);
  }
  // The forms before PKCS #8.
  for (const KeyType type : {KeyType::kEcdsaP256, KeyType::kRsa2048}) {
    const auto own = test::make_key(type);
    const std::string old = written([&](BIO* out) {
      return PEM_write_bio_PrivateKey_traditional(out, own.get(), nullptr, nullptr, 0, nullptr,
                                                  nullptr);
    });
    const auto key = parse_private_key(kEcParameters + old, "f");
    ASSERT_TRUE(key) << key.error().message();
    EXPECT_EQ(EVP_PKEY_eq(key->get(), own.get()), 1);
  }
}

TEST_F(PemObjects, AreNoPrivateKeyWhereTheTextIsUnclear) {
  const std::string next = "f:" + std::to_string(1 + std::ranges::count(leaf.key_pem, '\n')) + ": ";
  const std::string encrypted = written([&](BIO* out) {
    return PEM_write_bio_PrivateKey_traditional(out, leaf.key.get(), EVP_aes_128_cbc(), nullptr, 0,
                                                nullptr, const_cast<char*>("secret"));
  });
  const std::string with_more =
      pem("PRIVATE KEY", written([&](BIO* out) {
                           return i2d_PKCS8PrivateKey_bio(out, leaf.key.get(), nullptr, nullptr, 0,
                                                          nullptr, nullptr);
                         }) + "x");
  EXPECT_THAT(key_error(""), HasSubstr("holds no private key"));
  EXPECT_THAT(key_error(leaf.cert_pem), HasSubstr("holds no private key"));
  EXPECT_THAT(key_error(leaf.key_pem + leaf.key_pem), HasSubstr(next + "a second private key"));
  EXPECT_THAT(key_error(leaf.key_pem + pem("PUBLIC KEY", "x")),
              HasSubstr(next + "holds a block \"PUBLIC KEY\""));
  EXPECT_THAT(key_error(encrypted), HasSubstr("f:1: private key is encrypted"));
  EXPECT_THAT(key_error(with_more), HasSubstr("f:1: bad private key: is cut off, or has bytes"));
  EXPECT_THAT(key_error(pem("PRIVATE KEY", "x")), HasSubstr("f:1: bad private key"));
  EXPECT_THAT(key_error("-----BEGIN PRIVATE KEY-----\n#\n-----END PRIVATE KEY-----\n"),
              HasSubstr("f:1: bad private key: is not base64"));
}

TEST_F(PemObjects, AreCrlsInPemOrInDer) {
  const std::string list = root.crl({leaf.serial});
  const std::string der = crl_der(list);
  EXPECT_THAT(crls(kBom + list + kBom + list),
              ElementsAre("1", std::to_string(1 + std::ranges::count(list, '\n'))));
  EXPECT_THAT(crls("\t" + list), ElementsAre("1"));
  EXPECT_THAT(crls(der), ElementsAre("DER"));
  EXPECT_THAT(crls(der + der + "\r\n"), ElementsAre("DER", "DER"));
  EXPECT_THAT(crls("0 lists from elsewhere\n" + list), ElementsAre("2"));
}

TEST_F(PemObjects, AreNoCrlsWhereABlockWouldBeDropped) {
  const std::string list = root.crl();
  const std::string der = crl_der(list);
  const std::string next = "f:" + std::to_string(1 + std::ranges::count(list, '\n')) + ": ";
  struct Case {
    std::string text, expected;
  };
  for (const Case& bad : {
           Case{"", "holds no CRL"},
           Case{"# nothing yet\n", "holds no CRL"},
           Case{"<html>log in</html>\n", "holds no CRL"},
           Case{ca, "f:1: holds a block \"CERTIFICATE\" beside CRLs"},
           Case{list + ca, next + "holds a block \"CERTIFICATE\" beside CRLs"},
           Case{list + "# " + list, next + "PEM block with text before BEGIN"},
           Case{list + pem("X509 CRL", der + der), next + "bad CRL: bytes behind its end"},
           Case{list + pem("X509 CRL", der.substr(0, 40)), next + "bad CRL"},
           Case{der + "x", "bytes behind a CRL that are no CRL in DER"},
           Case{der + list, "bytes behind a CRL that are no CRL in DER"},
           Case{der.substr(0, der.size() - 1), "bad CRL in DER"},
           Case{der.substr(1), "holds a NUL byte"},
       }) {
    EXPECT_THAT(crls(bad.text), ElementsAre(HasSubstr(bad.expected)));
  }
}

}  // namespace
}  // namespace sallyport::ktls
