#include "ktls/handshake/tuning_proof.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ktls/base/openssl_handles.h"
#include "ktls/handshake/tls_library.h"
#include "ktls/openssl/tuned_library.h"

namespace sallyport::ktls {
namespace {

using ::testing::HasSubstr;

std::string wrong_with(OSSL_LIB_CTX* library,
                       const std::function<void(ApplicationSecrets&)>& alter = {}) {
  return disprove_tuning(library, alter).value_or("nothing");
}

TEST(TuningProof, FindsNothingWrongWithOurLibrary) {
  ASSERT_NE(tuned_library().context, nullptr) << tuned_library().reason;
  EXPECT_EQ(wrong_with(tuned_library().context), "nothing");
  EXPECT_EQ(tls_library(true).mode, TlsLibraryMode::kTuned) << tls_library(true).reason;
}

TEST(TuningProof, MissesTheSecretsOfALibraryThatDoesNotTell) {
  EXPECT_THAT(wrong_with(nullptr), HasSubstr("no application secrets"));
}

// A key and an iv are told apart by the order in which OpenSSL derives them.
TEST(TuningProof, SeesKeysThatAreNotThoseOfTheRecords) {
  OSSL_LIB_CTX* const library = tuned_library().context;
  EXPECT_THAT(
      wrong_with(library, [](ApplicationSecrets& told) { std::swap(told.client, told.server); }),
      HasSubstr("a record of the client does not open"));
  EXPECT_THAT(
      wrong_with(library,
                 [](ApplicationSecrets& told) { told.client.key.value().iv[11] ^= std::byte{1}; }),
      HasSubstr("a record of the client does not open"));
  EXPECT_THAT(
      wrong_with(library,
                 [](ApplicationSecrets& told) { told.server.key.value().key[0] ^= std::byte{1}; }),
      HasSubstr("the client does not open a record"));
  EXPECT_THAT(
      wrong_with(library, [](ApplicationSecrets& told) { told.server.key = told.client.key; }),
      HasSubstr("the client does not open a record"));
}

TEST(TlsLibrary, IsStockWhereTuningIsOff) {
  EXPECT_EQ(tls_library(false).mode, TlsLibraryMode::kStock);
  EXPECT_EQ(tls_library(false).context, nullptr);
  EXPECT_STREQ(to_string(tls_library(false).mode), "stock");
}

}  // namespace
}  // namespace sallyport::ktls
