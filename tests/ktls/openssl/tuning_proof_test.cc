#include "ktls/handshake/tuning_proof.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/provider.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

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

TEST(TuningProof, PassesForOurLibrary) {
  ASSERT_NE(tuned_library().context, nullptr) << tuned_library().reason;
  EXPECT_EQ(wrong_with(tuned_library().context), "nothing");
  EXPECT_EQ(tls_library(true).mode, TlsLibraryMode::kTuned) << tls_library(true).reason;
}

TEST(TuningProof, FailsForALibraryThatReportsNoSecrets) {
  EXPECT_THAT(wrong_with(nullptr), HasSubstr("no application secrets"));
}

TEST(TuningProof, FailsForSecretsThatAreNotThoseOfTheRecords) {
  OSSL_LIB_CTX* const library = tuned_library().context;
  const auto other_secret = [](DirectionState& state) {
    std::vector<std::byte> bytes(state.secret().bytes().begin(), state.secret().bytes().end());
    bytes[0] ^= std::byte{1};
    state = DirectionState(TrafficSecret(bytes), state.rec_seq);
  };
  EXPECT_THAT(
      wrong_with(library, [](ApplicationSecrets& told) { std::swap(told.client, told.server); }),
      HasSubstr("a record of the client does not open"));
  EXPECT_THAT(wrong_with(library, [&](ApplicationSecrets& told) { other_secret(told.client); }),
              HasSubstr("a record of the client does not open"));
  EXPECT_THAT(wrong_with(library, [&](ApplicationSecrets& told) { other_secret(told.server); }),
              HasSubstr("the client does not open a record"));
}

TEST(TuningProof, FailsForALibraryWithoutTheAlgorithmsOfAHandshake) {
  const OpensslPtr<OSSL_LIB_CTX, OSSL_LIB_CTX_free> bare(OSSL_LIB_CTX_new());
  const OpensslPtr<OSSL_PROVIDER, OSSL_PROVIDER_unload> none(
      OSSL_PROVIDER_load(bare.get(), "null"));
  EXPECT_THAT(wrong_with(bare.get()), HasSubstr("no context for TLS_AES_"));
}

TEST(TlsLibrary, IsStockWhereTheProofFails) {
  const TlsLibrary library = proven(
      tuned_library(), [](ApplicationSecrets& told) { std::swap(told.client, told.server); });
  EXPECT_EQ(library.mode, TlsLibraryMode::kStock);
  EXPECT_EQ(library.context, nullptr);
  EXPECT_THAT(library.reason, HasSubstr("proof of the tuned library failed: a record"));
}

TEST(TlsLibrary, IsStockWhereThereIsNoTunedOne) {
  const TlsLibrary library = proven({.context = nullptr, .reason = "openssl.cnf has a word"});
  EXPECT_EQ(library.mode, TlsLibraryMode::kStock);
  EXPECT_EQ(library.reason, "openssl.cnf has a word");
}

TEST(TlsLibrary, NamesTheProvidersOfTheSystemsOpenssl) {
  EVP_MD_free(EVP_MD_fetch(nullptr, "SHA256", nullptr));  // loads what openssl.cnf wants
  EXPECT_THAT(openssl_providers(), ::testing::AnyOf(HasSubstr("default"), HasSubstr("fips")));
}

// In a process of its own, since OpenSSL loads the names once.
TEST(TlsLibrary, NeedsNoNamesOfLegacyCiphers) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto say_what_is_found = [] {
    skip_legacy_cipher_names();
    const bool named = EVP_get_cipherbyname("AES-256-CBC") != nullptr;
    EVP_CIPHER* const fetched = EVP_CIPHER_fetch(nullptr, "AES-256-CBC", nullptr);
    std::fprintf(stderr, "named %d, fetched %d, %s\n", named, fetched != nullptr,
                 to_string(tls_library(true).mode));
    std::_Exit(0);
  };
  EXPECT_EXIT(say_what_is_found(), ::testing::ExitedWithCode(0), "named 0, fetched 1, tuned");
}

TEST(TlsLibrary, IsStockWhereTuningIsOff) {
  EXPECT_EQ(tls_library(false).mode, TlsLibraryMode::kStock);
  EXPECT_EQ(tls_library(false).context, nullptr);
  EXPECT_STREQ(to_string(tls_library(false).mode), "stock");
}

}  // namespace
}  // namespace sallyport::ktls
