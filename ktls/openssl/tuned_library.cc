// A provider whose functions are those of OpenSSL's "default", but for its TLS13-KDF. On slow
// versions its lists leave out what no handshake uses.
#include "ktls/openssl/tuned_library.h"

#include <openssl/conf.h>
#include <openssl/core_dispatch.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ktls/base/openssl_handles.h"
#include "ktls/openssl/tls13_kdf.h"

namespace sallyport::ktls {
namespace {

constexpr const char* kName = "sallyport-handshake";

// Algorithms by their first names in "default". First the keys that can sign a certificate or a
// handshake, but SM2.
constexpr std::array<std::string_view, 6> kSigningKeys{"RSA",     "RSA-PSS", "EC",
                                                       "ED25519", "ED448",   "DSA"};
constexpr std::array<std::string_view, 4> kExchangeKeys{"X25519", "X448", "DH", "HMAC"};
// Those that sign as kSigningKeys do, and HMAC, by which OpenSSL 3.0 computes a PSK's binder.
constexpr std::array<std::string_view, 6> kSignatures{"RSA",     "DSA",   "ECDSA",
                                                      "ED25519", "ED448", "HMAC"};
constexpr std::array<std::string_view, 4> kExchanges{"X25519", "X448", "ECDH", "DH"};
// Those that a signature on a certificate may use: at our security level neither MD5 nor RIPEMD-160
// may. OpenSSL compares certificates by their SHA-1; Ed448 hashes with SHAKE-256.
constexpr std::array<std::string_view, 12> kDigests{
    "SHA1",         "SHA2-224", "SHA2-256", "SHA2-384", "SHA2-512", "SHA2-512/224",
    "SHA2-512/256", "SHA3-224", "SHA3-256", "SHA3-384", "SHA3-512", "SHAKE-256"};
constexpr std::array<std::string_view, 2> kRandoms{"CTR-DRBG", "SEED-SRC"};
// Those of suite.h; no other is negotiated.
constexpr std::array<std::string_view, 3> kCiphers{"AES-128-GCM", "AES-256-GCM",
                                                   "ChaCha20-Poly1305"};
constexpr std::array<std::string_view, 1> kMacs{"HMAC"};
constexpr std::string_view kTls13Kdf = "TLS13-KDF";
constexpr std::array<std::string_view, 3> kKdfs{"HKDF", kTls13Kdf, "TLS1-PRF"};

/// Whether this OpenSSL walks over all algorithms and decoders for each certificate.
bool is_slow_version() {
  return OPENSSL_version_major() == 3 && OPENSSL_version_minor() < 2;
}

bool named(const OSSL_ALGORITHM& algorithm, std::span<const std::string_view> names) {
  if (algorithm.algorithm_names == nullptr) return false;  // the end mark
  const std::string_view all = algorithm.algorithm_names;
  return std::ranges::find(names, all.substr(0, all.find(':'))) != names.end();
}

bool decodes_public_keys(const OSSL_ALGORITHM& decoder) {
  const std::string_view properties = decoder.property_definition;
  return properties.contains("input=der") && properties.contains("structure=SubjectPublicKeyInfo");
}

bool kept(int operation, const OSSL_ALGORITHM& algorithm) {
  if (!is_slow_version()) return true;
  switch (operation) {
    case OSSL_OP_DIGEST:
      return named(algorithm, kDigests);
    case OSSL_OP_CIPHER:
      return named(algorithm, kCiphers);
    case OSSL_OP_MAC:
      return named(algorithm, kMacs);
    case OSSL_OP_KDF:
      return named(algorithm, kKdfs);
    case OSSL_OP_KEYMGMT:
      return named(algorithm, kSigningKeys) || named(algorithm, kExchangeKeys);
    case OSSL_OP_KEYEXCH:
      return named(algorithm, kExchanges);
    case OSSL_OP_SIGNATURE:
      return named(algorithm, kSignatures);
    case OSSL_OP_RAND:
      return named(algorithm, kRandoms);
    case OSSL_OP_DECODER:
      return named(algorithm, kSigningKeys) && decodes_public_keys(algorithm);
    default:
      return true;  // nothing that a handshake loads
  }
}

/// The data of the provider's functions. It is a global, since OpenSSL calls them with the context
/// of "default".
struct Base {
  OSSL_PROVIDER* provider = nullptr;  ///< "default", of the default context
  /// By operation; each list ends with an empty entry, as OpenSSL requires.
  std::array<std::vector<OSSL_ALGORITHM>, OSSL_OP__HIGHEST + 1> algorithms;
};
Base* base = nullptr;  ///< set once, before the first call, and never freed: nor is the context

const OSSL_ALGORITHM* query(void*, int operation, int* no_cache) {
  *no_cache = 0;
  if (operation < 0 || operation > OSSL_OP__HIGHEST) return nullptr;
  const auto& list = base->algorithms[static_cast<std::size_t>(operation)];
  return list.empty() ? nullptr : list.data();
}

int capabilities(void*, const char* capability, OSSL_CALLBACK* each, void* argument) {
  return OSSL_PROVIDER_get_capabilities(base->provider, capability, each, argument);
}

int initialise(const OSSL_CORE_HANDLE*, const OSSL_DISPATCH*, const OSSL_DISPATCH** functions,
               void** context) {
  static constexpr int kQuery = OSSL_FUNC_PROVIDER_QUERY_OPERATION;
  static constexpr int kCapabilities = OSSL_FUNC_PROVIDER_GET_CAPABILITIES;
  static const OSSL_DISPATCH table[] = {{kQuery, reinterpret_cast<void (*)()>(query)},
                                        {kCapabilities, reinterpret_cast<void (*)()>(capabilities)},
                                        {0, nullptr}};
  *functions = table;
  *context = OSSL_PROVIDER_get0_provider_ctx(base->provider);
  return 1;
}

OSSL_ALGORITHM* find(int operation, std::string_view name) {
  auto& list = base->algorithms[static_cast<std::size_t>(operation)];
  const auto found = std::ranges::find_if(
      list, [&](const OSSL_ALGORITHM& algorithm) { return named(algorithm, {&name, 1}); });
  return found == list.end() ? nullptr : &*found;
}

bool load_base() {
  OSSL_PROVIDER* provider = OSSL_PROVIDER_try_load(nullptr, "default", 1);
  if (provider == nullptr) return false;
  base = new Base;
  base->provider = provider;
  for (int operation = 0; operation <= OSSL_OP__HIGHEST; ++operation) {
    int no_cache = 0;
    const OSSL_ALGORITHM* all = OSSL_PROVIDER_query_operation(provider, operation, &no_cache);
    if (no_cache != 0) return false;  // "default" never sets it
    auto& list = base->algorithms[static_cast<std::size_t>(operation)];
    for (; all != nullptr && all->algorithm_names != nullptr; ++all)
      if (kept(operation, *all)) list.push_back(*all);
    if (!list.empty()) list.push_back({});
  }
  OSSL_ALGORITHM* const tls13_kdf = find(OSSL_OP_KDF, kTls13Kdf);
  return tls13_kdf != nullptr && override_tls13_kdf(*tls13_kdf);
}

// ---- whether it may be used

int is_default(OSSL_PROVIDER* provider, void* others) {
  if (std::strcmp(OSSL_PROVIDER_get0_name(provider), "default") != 0)
    *static_cast<bool*>(others) = true;
  return 1;
}

/// Whether the default context is unconfigured: one provider, and in openssl.cnf no section that
/// changes how algorithms are found. Its settings of TLS (ssl_conf) hold in every context.
bool is_unconfigured() {
  bool others = false;
  OSSL_PROVIDER_do_all(nullptr, is_default, &others);  // loads the file if it was not yet
  if (others || EVP_default_properties_is_fips_enabled(nullptr) == 1) return false;

  const OpensslPtr<char, [](char* text) { OPENSSL_free(text); }> file(
      CONF_get1_default_config_file());
  const OpensslPtr<CONF, NCONF_free> conf(NCONF_new(nullptr));
  long line = 0;
  if (!file || !conf) return false;
  if (NCONF_load(conf.get(), file.get(), &line) != 1) return true;  // OpenSSL ignores it, too
  const char* main = NCONF_get_string(conf.get(), nullptr, "openssl_conf");
  const STACK_OF(CONF_VALUE)* sections =
      main == nullptr ? nullptr : NCONF_get_section(conf.get(), main);
  for (int i = 0; i < sk_CONF_VALUE_num(sections); ++i) {
    const std::string_view name = sk_CONF_VALUE_value(sections, i)->name;
    const std::string_view module = name.substr(0, name.rfind('.'));
    if (module != "providers" && module != "ssl_conf" && module != "oid_section") return false;
  }
  return true;
}

bool decodes_a_key(OSSL_LIB_CTX* library) {
  // SubjectPublicKeyInfo of the base point of P-256 (SEC 2, 2.4.2), a public key like any other.
  static constexpr std::uint8_t kBasePoint[] = {
      0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
      0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
      0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5,
      0x63, 0xa4, 0x40, 0xf2, 0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4,
      0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96, 0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a,
      0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce, 0x33,
      0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5};
  const unsigned char* at = kBasePoint;
  const EvpPkeyPtr key(d2i_PUBKEY_ex(nullptr, &at, sizeof kBasePoint, library, nullptr));
  return key && EVP_PKEY_get0_provider(key.get()) != nullptr;
}

TunedLibrary make() {
  if (!is_unconfigured()) {
    return {.context = nullptr,
            .reason =
                "OpenSSL is configured by the system: providers, properties, random numbers "
                "or engines"};
  }
  OSSL_LIB_CTX* library = load_base() ? OSSL_LIB_CTX_new() : nullptr;
  if (library != nullptr && OSSL_PROVIDER_add_builtin(library, kName, initialise) == 1 &&
      OSSL_PROVIDER_load(library, kName) != nullptr && decodes_a_key(library) &&
      derives_as_openssl(library))
    return {.context = library, .reason = {}};
  OSSL_LIB_CTX_free(library);
  return {.context = nullptr, .reason = "this OpenSSL does not take our overrides"};
}

}  // namespace

const TunedLibrary& tuned_library() {
  static const TunedLibrary library = [] {
    TunedLibrary made = make();
    (void)OpensslError::drain();
    return made;
  }();
  return library;
}

bool supports_key_type(OSSL_LIB_CTX* library, const EVP_PKEY* key) {
  const char* type = EVP_PKEY_get0_type_name(key);
  EVP_KEYMGMT* found = type == nullptr ? nullptr : EVP_KEYMGMT_fetch(library, type, nullptr);
  EVP_KEYMGMT_free(found);
  (void)OpensslError::drain();
  return found != nullptr;
}

}  // namespace sallyport::ktls
