// Which path of a chain is taken is compared with OpenSSL's judgement of each path by itself, over
// hierarchies at random, with fixed seeds that a failure names; and what a stranger's chain costs.
#include "ktls/trust/path_search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include "ktls/trust/chain_cache.h"
#include "ktls/trust/verify_chain.h"
#include "tests/ktls/handshake/loopback.h"
#include "tests/ktls/trust/bare_stack.h"
#include "tests/ktls/trust/certificate_builder.h"
#include "tests/support/random.h"

namespace sallyport::ktls::testing {
namespace {

using std::chrono::hours;
using test::Random;
using StoreContextPtr = OpensslPtr<X509_STORE_CTX, X509_STORE_CTX_free>;
using Certificates = std::vector<X509*>;

bool has(const X509* certificate, int nid) {
  return X509_get_ext_by_NID(certificate, nid, -1) >= 0;
}

bool is_issued_by_name(const X509* certificate, const X509* issuer) {
  return X509_NAME_cmp(X509_get_issuer_name(certificate), X509_get_subject_name(issuer)) == 0;
}

bool is_signed_by(X509* certificate, const X509* issuer) {
  return X509_verify(certificate, X509_get0_pubkey(issuer)) == 1;
}

X509StorePtr store_of(const Certificates& certificates) {
  X509StorePtr store(X509_STORE_new());
  for (X509* const each : certificates) X509_STORE_add_cert(store.get(), each);
  return store;
}

BareStackPtr stack_of(const Certificates& certificates) {
  BareStackPtr stack(sk_X509_new_null());
  for (X509* const each : certificates) sk_X509_push(stack.get(), each);
  return stack;
}

/// As the TLS server has it. `others` must outlive it.
StoreContextPtr context_of(X509_STORE* store, X509* leaf, STACK_OF(X509) * others) {
  StoreContextPtr context(X509_STORE_CTX_new());
  X509_STORE_CTX_init(context.get(), store, leaf, others);
  X509_STORE_CTX_set_default(context.get(), "ssl_client");
  X509_VERIFY_PARAM* const parameters = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_depth(parameters, kMaxIntermediates);
  X509_VERIFY_PARAM_set_auth_level(parameters, kSecurityLevel);
  return context;
}

/// Authorities that are cross-signed, renewed, re-keyed and namesakes of each other, and a leaf.
class Hierarchy {
 public:
  explicit Hierarchy(std::uint64_t seed) : random_(seed) {
    for (std::size_t i = 1 + random_.below(3); i > 0; --i) add_authority(true);
    for (std::size_t i = random_.below(7); i > 0; --i) add_authority(false);
    leaf_ = make_certificate(leaf());
    share_out();
  }

  bool partial_chain = false;
  Certificates trusted, sent;
  X509* leaf_certificate() const { return leaf_.get(); }

  /// Whether OpenSSL accepts some path, which it is made to take.
  bool has_good_path() {
    if (partial_chain && std::ranges::find(trusted, leaf_.get()) != trusted.end() &&
        is_good({leaf_.get()}))
      return true;
    Certificates path{leaf_.get()};
    return goes_on(path);
  }
  /// Whether OpenSSL accepts the path that it takes itself.
  bool openssl_accepts() const {
    const X509StorePtr store = store_of(trusted);
    const BareStackPtr others = stack_of(sent);
    const StoreContextPtr context = context_of(store.get(), leaf_.get(), others.get());
    if (partial_chain)
      X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(context.get()),
                                  X509_V_FLAG_PARTIAL_CHAIN);
    return X509_verify_cert(context.get()) == 1;
  }

  std::string description() const {
    std::string text = partial_chain ? "every certificate anchors" : "";
    const auto add = [&](const char* what, X509* certificate) {
      text += std::string("\n") + what + "\n" + test::to_pem(certificate);
    };
    add("leaf", leaf_.get());
    for (X509* const each : trusted) add("trusted", each);
    for (X509* const each : sent) add("sent", each);
    return text;
  }

 private:
  struct Authority {
    X509Ptr certificate;
    EVP_PKEY* key;
    bool root;
  };

  static EVP_PKEY* key(std::size_t index) {
    static const std::vector<EvpPkeyPtr> keys = [] {
      std::vector<EvpPkeyPtr> made;
      for (int i = 0; i < 4; ++i) made.emplace_back(EVP_EC_gen("P-256"));
      return made;
    }();
    return keys[index].get();
  }

  void set_dates(CertificateSpec& spec) {
    if (random_.one_in(7)) spec.not_after = hours(-1);
    if (random_.one_in(25)) spec.not_before = hours(1);
  }

  void set_issuer(CertificateSpec& spec) {
    const Authority& issuer = authorities_[random_.below(authorities_.size())];
    spec.issuer = issuer.certificate.get();
    spec.signer = random_.one_in(20) ? key(random_.below(4)) : issuer.key;
    if (has(spec.issuer, NID_subject_key_identifier) && random_.one_in(2))
      spec.extensions.emplace_back("authorityKeyIdentifier",
                                   random_.one_in(6) ? "keyid,issuer:always" : "keyid");
  }

  void add_authority(bool root) {
    CertificateSpec spec{.subject = std::string(1, static_cast<char>('A' + random_.below(3))),
                         .key = key(random_.below(4)),
                         .extensions = {}};
    set_dates(spec);
    std::string constraints = random_.one_in(25) ? "critical,CA:FALSE" : "critical,CA:TRUE";
    if (constraints.ends_with("TRUE") && random_.one_in(6))
      constraints += ",pathlen:" + std::to_string(random_.below(2));
    spec.extensions.emplace_back("basicConstraints", std::move(constraints));
    if (!random_.one_in(3))
      spec.extensions.emplace_back(
          "keyUsage", random_.one_in(12) ? "critical,cRLSign" : "critical,keyCertSign");
    if (random_.one_in(8))
      spec.extensions.emplace_back("nameConstraints", random_.one_in(2)
                                                          ? "critical,permitted;DNS:a.test"
                                                          : "critical,excluded;DNS:a.test");
    if (random_.one_in(15)) spec.extensions.emplace_back("extendedKeyUsage", "serverAuth");
    if (!random_.one_in(3)) spec.extensions.emplace_back("subjectKeyIdentifier", "hash");
    spec.signer = spec.key;
    if (!root) set_issuer(spec);
    authorities_.push_back({make_certificate(spec), spec.key, root});
  }

  CertificateSpec leaf() {
    CertificateSpec spec{
        .subject = "leaf",
        .key = key(0),
        .extensions = {{"basicConstraints", "critical,CA:FALSE"},
                       {"keyUsage", "critical,digitalSignature"},
                       {"subjectAltName", random_.one_in(2) ? "DNS:x.a.test" : "DNS:x.b.test"}}};
    if (random_.one_in(20)) spec.not_after = hours(-1);
    set_issuer(spec);
    return spec;
  }

  // At least one root is trusted: without any, credentials do not load.
  void share_out() {
    partial_chain = random_.one_in(4);
    bool anchored = false;
    for (const Authority& each : authorities_) {
      // Which credentials refuse to load.
      const bool pretends = X509_self_signed(each.certificate.get(), 0) == 1 && !each.root;
      const bool in_bundle =
          each.root ? !anchored || !random_.one_in(3) : !pretends && random_.one_in(4);
      if (in_bundle) trusted.push_back(each.certificate.get());
      anchored = anchored || (in_bundle && each.root);
      if ((!in_bundle && !random_.one_in(6)) || random_.one_in(6))
        sent.push_back(each.certificate.get());
    }
    if (random_.one_in(10)) trusted.push_back(leaf_.get());
    random_.shuffle(trusted);
    random_.shuffle(sent);
  }

  bool goes_on(Certificates& path) {
    for (X509* const issuer : trusted) {
      if (!is_issued_by_name(path.back(), issuer) || !is_signed_by(path.back(), issuer)) continue;
      const bool self_signed = is_issued_by_name(issuer, issuer) && is_signed_by(issuer, issuer);
      if (self_signed || partial_chain) {
        path.push_back(issuer);
        const bool good = is_good(path);
        path.pop_back();
        if (good) return true;
      }
      if (passes(path, issuer)) return true;
    }
    return std::ranges::any_of(sent, [&](X509* issuer) {
      return is_issued_by_name(path.back(), issuer) && is_signed_by(path.back(), issuer) &&
             passes(path, issuer);
    });
  }

  bool passes(Certificates& path, X509* issuer) {
    if (std::ranges::find(path, issuer) != path.end()) return false;
    path.push_back(issuer);
    const bool good = goes_on(path);
    path.pop_back();
    return good;
  }

  static int is_next(X509_STORE_CTX* context, X509* certificate, X509* issuer) {
    const auto* path = static_cast<const Certificates*>(X509_STORE_CTX_get_app_data(context));
    for (std::size_t i = 0; i + 1 < path->size(); ++i)
      if (X509_cmp((*path)[i], certificate) == 0 && X509_cmp((*path)[i + 1], issuer) == 0)
        return X509_check_issued(issuer, certificate) == X509_V_OK ? 1 : 0;
    return 0;
  }

  bool is_good(const Certificates& path) const {
    const X509StorePtr store = store_of({path.back()});
    X509_STORE_set_check_issued(store.get(), is_next);
    const BareStackPtr between =
        stack_of(path.size() > 2 ? Certificates(path.begin() + 1, path.end() - 1) : Certificates{});
    const StoreContextPtr context = context_of(store.get(), path.front(), between.get());
    X509_STORE_CTX_set_app_data(context.get(), const_cast<Certificates*>(&path));
    if (partial_chain)
      X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(context.get()),
                                  X509_V_FLAG_PARTIAL_CHAIN);
    return X509_verify_cert(context.get()) == 1;
  }

  Random random_;
  std::vector<Authority> authorities_;
  X509Ptr leaf_;
};

class PathSearchTest : public ::testing::Test {
 protected:
  void trust(const Certificates& certificates) {
    std::string bundle;
    for (X509* const each : certificates) bundle += test::to_pem(each);
    server_.files.ca = {{std::nullopt, server_.dir.write("ca.pem", bundle)}};
    const auto loaded = server_.load();
    ASSERT_TRUE(loaded) << loaded.error().message();
    credentials_ = *loaded;
    store_ = store_of(certificates);
  }
  HandshakeResult verdict(X509* leaf, const Certificates& sent) const {
    const BareStackPtr others = stack_of(sent);
    const StoreContextPtr context = context_of(store_.get(), leaf, others.get());
    ChainCache nothing(0);
    const auto verified =
        verify_chain(context.get(), *credentials_, nothing, wall_clock_now(), Role::kClient);
    return verified ? HandshakeResult::kSuccess : verified.error().result;
  }

  TestServer server_;
  std::shared_ptr<const Credentials> credentials_;
  X509StorePtr store_;
};

TEST_F(PathSearchTest, AcceptsAChainIfOpensslAcceptsOneOfItsPaths) {
  int refused = 0, found = 0;
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    Hierarchy hierarchy(seed);
    server_.settings.partial_chain = hierarchy.partial_chain;
    ASSERT_NO_FATAL_FAILURE(trust(hierarchy.trusted));
    const bool good = hierarchy.has_good_path();
    const bool ours =
        verdict(hierarchy.leaf_certificate(), hierarchy.sent) == HandshakeResult::kSuccess;
    EXPECT_EQ(ours, good) << "seed " << seed << hierarchy.description();
    if (!ours) ++refused;
    if (ours && !hierarchy.openssl_accepts()) ++found;
  }
  EXPECT_GT(refused, 100);
  EXPECT_GT(found, 10) << "by more than the path that OpenSSL takes";
}

// A key for which a signature takes long, and of which no private key is needed.
EvpPkeyPtr slow_key() {
  constexpr int kBits = 16384;
  const OpensslPtr<BIGNUM, BN_free> modulus(BN_new());
  const OpensslPtr<BIGNUM, BN_free> exponent(BN_new());
  BN_rand(modulus.get(), kBits, BN_RAND_TOP_TWO, BN_RAND_BOTTOM_ODD);
  BN_set_word(exponent.get(), ~0UL);
  const OpensslPtr<OSSL_PARAM_BLD, OSSL_PARAM_BLD_free> builder(OSSL_PARAM_BLD_new());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, modulus.get());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, exponent.get());
  const OpensslPtr<OSSL_PARAM, OSSL_PARAM_free> parameters(OSSL_PARAM_BLD_to_param(builder.get()));
  const OpensslPtr<EVP_PKEY_CTX, EVP_PKEY_CTX_free> context(
      EVP_PKEY_CTX_new_from_name(nullptr, "RSA", nullptr));
  EVP_PKEY* key = nullptr;
  EVP_PKEY_fromdata_init(context.get());
  EXPECT_EQ(EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, parameters.get()), 1);
  return EvpPkeyPtr(key);
}

std::chrono::nanoseconds cpu_time() {
  std::timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

// A leaf as if a key of this size had signed it.
X509Ptr leaf_below(X509* issuer) {
  const EvpPkeyPtr rsa(EVP_RSA_gen(2048));
  const EvpPkeyPtr ec(EVP_EC_gen("P-256"));
  EVP_PKEY* const key = X509_get0_pubkey(issuer);
  const bool with_rsa = EVP_PKEY_is_a(key, "RSA") == 1;
  X509Ptr leaf = make_certificate({.subject = "leaf",
                                   .key = ec.get(),
                                   .issuer = issuer,
                                   .signer = with_rsa ? rsa.get() : ec.get(),
                                   .extensions = {{"keyUsage", "critical,digitalSignature"}}});
  if (!with_rsa) return leaf;
  const std::vector<unsigned char> bytes(static_cast<std::size_t>(EVP_PKEY_get_size(key)), 0x11);
  const ASN1_BIT_STRING* signature = nullptr;
  X509_get0_signature(&signature, nullptr, leaf.get());
  ASN1_STRING_set(const_cast<ASN1_BIT_STRING*>(signature), bytes.data(),
                  static_cast<int>(bytes.size()));
  return leaf;
}

// As many intermediates as a client may send, all of one name and none of them genuine. A signature
// under a slow key takes 5 ms, one under another a tenth of a millisecond.
TEST_F(PathSearchTest, UsesNoKeyOfAStranger) {
  const EvpPkeyPtr root_key(EVP_EC_gen("P-256"));
  const EvpPkeyPtr other_key(EVP_EC_gen("P-256"));
  const std::vector<ExtensionText> authority{{"basicConstraints", "critical,CA:TRUE"}};
  const X509Ptr root = make_certificate({.subject = "Root",
                                         .key = root_key.get(),
                                         .signer = root_key.get(),
                                         .extensions = authority});
  ASSERT_NO_FATAL_FAILURE(trust({root.get()}));
  const auto cost_of = [&](auto make_key) {
    std::vector<X509Ptr> twins;
    Certificates sent;
    for (int i = 0; i < kMaxIntermediates + 1; ++i) {
      const EvpPkeyPtr key = make_key();
      twins.push_back(make_certificate({.subject = "Twin",
                                        .key = key.get(),
                                        .issuer = root.get(),
                                        .signer = other_key.get(),
                                        .extensions = authority}));
      sent.push_back(twins.back().get());
    }
    const X509Ptr leaf = leaf_below(sent.front());
    const auto before = cpu_time();
    EXPECT_EQ(verdict(leaf.get(), sent), HandshakeResult::kCertificateAuthorityInvalid);
    return cpu_time() - before;
  };
  const auto ordinary = cost_of([] { return EvpPkeyPtr(EVP_EC_gen("P-256")); });
  EXPECT_LT(cost_of(slow_key), 10 * ordinary);
}

}  // namespace
}  // namespace sallyport::ktls::testing
