#include "ktls/trust/x509_facts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#include <string>

#include "ktls/base/openssl_handles.h"
#include "tests/support/pki.h"

namespace sallyport::ktls {
namespace {

using namespace std::chrono_literals;
using ::testing::StartsWith;
using X509NamePtr = OpensslPtr<X509_NAME, X509_NAME_free>;
using TimePtr = OpensslPtr<ASN1_TIME, ASN1_TIME_free>;
using KeyContextPtr = OpensslPtr<EVP_PKEY_CTX, EVP_PKEY_CTX_free>;

X509NamePtr a_name(int type, const std::string& value) {
  X509NamePtr name(X509_NAME_new());
  EXPECT_EQ(X509_NAME_add_entry_by_NID(name.get(), NID_organizationName, type,
                                       reinterpret_cast<const unsigned char*>(value.data()),
                                       static_cast<int>(value.size()), -1, 0),
            1);
  return name;
}

EvpPkeyPtr rsa_pss_key() {
  const KeyContextPtr context(EVP_PKEY_CTX_new_id(EVP_PKEY_RSA_PSS, nullptr));
  EVP_PKEY* key = nullptr;
  EXPECT_EQ(EVP_PKEY_keygen_init(context.get()), 1);
  EXPECT_EQ(EVP_PKEY_CTX_set_rsa_keygen_bits(context.get(), 2048), 1);
  EXPECT_EQ(EVP_PKEY_keygen(context.get(), &key), 1);
  return EvpPkeyPtr(key);
}

std::string text_of_key(const EvpPkeyPtr& key) {
  const X509Ptr certificate(X509_new());
  EXPECT_EQ(X509_set_pubkey(certificate.get(), key.get()), 1);
  return key_text(certificate.get());
}

TEST(X509Facts, PrintNamesAndSerialsAsOpensslDoes) {
  const test::TestAuthority root("Test, \"Root\"");
  EXPECT_EQ(name_text(X509_get_subject_name(root.certificate().x509.get())),
            "CN=Test\\, \\\"Root\\\"");
  const Asn1IntegerPtr serial(ASN1_INTEGER_new());
  ASN1_INTEGER_set_uint64(serial.get(), 0x0abc);
  EXPECT_EQ(serial_text(serial.get()), "0ABC");
  ASN1_INTEGER_set_int64(serial.get(), -0x0abc);
  EXPECT_EQ(serial_text(serial.get()), "-0ABC");
}

TEST(X509Facts, EscapeWhatWouldBreakALine) {
  EXPECT_EQ(name_text(a_name(V_ASN1_UTF8STRING, "a\nb\tm\xc3\xbc").get()), "O=a\\0Ab\\09m\xc3\xbc");
}

TEST(X509Facts, CutALongNameBetweenTwoCharacters) {
  const std::string most(251, 'x');
  EXPECT_EQ(name_text(a_name(V_ASN1_UTF8STRING, most).get()), "O=" + most);
  EXPECT_EQ(name_text(a_name(V_ASN1_UTF8STRING, most + "y").get()), "O=" + most + "...");
  const std::string less(250, 'x');
  EXPECT_EQ(name_text(a_name(V_ASN1_UTF8STRING, less + "\xc3\xbcz").get()), "O=" + less + "...")
      << "half a character stays away";
}

TEST(X509Facts, SayThatANameCannotBeRead) {
  const std::string beyond_unicode("\x7f\xff\xff\xff", 4);
  const std::string text = name_text(a_name(V_ASN1_UNIVERSALSTRING, beyond_unicode).get());
  EXPECT_THAT(text, ::testing::Not(::testing::IsEmpty()));
  EXPECT_THAT(text, ::testing::Not(StartsWith("O=")));
  EXPECT_EQ(ERR_peek_error(), 0U) << "no reason is left for a later failure";
}

TEST(X509Facts, ReadEveryTimeAndTakeWhatIsNoneForTheEpoch) {
  const TimePtr time(ASN1_TIME_new());
  ASSERT_EQ(ASN1_TIME_set_string_X509(time.get(), "20500101000000Z"), 1);
  EXPECT_EQ(to_time(time.get()), std::chrono::sys_days(std::chrono::January / 1 / 2050));
  ASSERT_EQ(ASN1_TIME_set_string_X509(time.get(), "99991231235959Z"), 1);
  EXPECT_EQ(to_time(time.get()), std::chrono::sys_days(std::chrono::January / 1 / 10'000) - 1s);
  ASSERT_EQ(ASN1_TIME_set_string_X509(time.get(), "500101000000Z"), 1);
  EXPECT_EQ(to_time(time.get()), std::chrono::sys_days(std::chrono::January / 1 / 1950));
  ASSERT_EQ(ASN1_STRING_set(time.get(), "nonsense", -1), 1);
  EXPECT_EQ(to_time(time.get()), std::chrono::sys_seconds());
  EXPECT_EQ(to_time(nullptr), std::chrono::sys_seconds());
  EXPECT_EQ(ERR_peek_error(), 0U);
}

TEST(X509Facts, NameEachKindOfKey) {
  EXPECT_EQ(text_of_key(EvpPkeyPtr(EVP_EC_gen("P-256"))), "EC P-256");
  EXPECT_EQ(text_of_key(EvpPkeyPtr(EVP_EC_gen("P-521"))), "EC P-521");
  EXPECT_EQ(text_of_key(EvpPkeyPtr(EVP_RSA_gen(2048))), "RSA 2048");
  EXPECT_EQ(text_of_key(rsa_pss_key()), "RSA-PSS 2048");
  EXPECT_EQ(text_of_key(EvpPkeyPtr(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"))), "Ed25519");
  EXPECT_EQ(text_of_key(EvpPkeyPtr(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED448"))), "Ed448");
  EXPECT_EQ(text_of_key(EvpPkeyPtr(EVP_PKEY_Q_keygen(nullptr, nullptr, "X25519"))), "X25519")
      << "what has no word of ours has OpenSSL's";
}

TEST(X509Facts, TellCurvesOfOneSizeApart) {
  EXPECT_EQ(text_of_key(EvpPkeyPtr(EVP_EC_gen("secp256k1"))), "EC secp256k1");
  EXPECT_EQ(text_of_key(EvpPkeyPtr(EVP_EC_gen("brainpoolP256r1"))), "EC brainpoolP256r1");
}

TEST(X509Facts, SayWhereAKeyIsUnknown) {
  const X509Ptr without_key(X509_new());
  EXPECT_EQ(key_text(without_key.get()), "unknown");
  EXPECT_EQ(ERR_peek_error(), 0U);
}

}  // namespace
}  // namespace sallyport::ktls
