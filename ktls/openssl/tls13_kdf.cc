#include "ktls/openssl/tls13_kdf.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <vector>

#include "ktls/base/openssl_handles.h"
#include "ktls/base/wire.h"
#include "ktls/keys/key_schedule.h"
#include "ktls/openssl/dispatch.h"

namespace sallyport::ktls {
namespace {

constexpr std::string_view kDerived = "derived";
constexpr std::string_view kClientSecret = "c ap traffic";
constexpr std::string_view kServerSecret = "s ap traffic";
constexpr std::string_view kKey = "key";
constexpr std::string_view kIv = "iv";

OSSL_FUNC_kdf_derive_fn* openssl_derive = nullptr;  ///< set before the provider is in use
thread_local SecretTap* installed_tap = nullptr;

std::span<const std::byte> bytes_of(const OSSL_PARAM& parameter) {
  return {static_cast<const std::byte*>(parameter.data),
          parameter.data == nullptr ? 0 : parameter.data_size};
}

/// The parameters of one derivation. libssl gives all of them with the call.
struct Request {
  int mode = -1;
  std::string_view digest;
  std::string_view prefix;
  std::string_view label;
  std::span<const std::byte> key;      ///< the secret to expand, or the input of an extraction
  std::span<const std::byte> context;  ///< of an expansion
  std::span<const std::byte> salt;     ///< of an extraction: the secret before; empty: none
  bool plain = true;                   ///< no other parameter is given

  explicit Request(const OSSL_PARAM* parameters) {
    for (const OSSL_PARAM* at = parameters; at != nullptr && at->key != nullptr; ++at) {
      const std::string_view name = at->key;
      if (name == OSSL_KDF_PARAM_MODE)
        plain = plain && OSSL_PARAM_get_int(at, &mode) == 1;
      else if (name == OSSL_KDF_PARAM_DIGEST)
        digest = as_text(bytes_of(*at));
      else if (name == OSSL_KDF_PARAM_PREFIX)
        prefix = as_text(bytes_of(*at));
      else if (name == OSSL_KDF_PARAM_LABEL)
        label = as_text(bytes_of(*at));
      else if (name == OSSL_KDF_PARAM_KEY)
        key = bytes_of(*at);
      else if (name == OSSL_KDF_PARAM_DATA)
        context = bytes_of(*at);
      else if (name == OSSL_KDF_PARAM_SALT)
        salt = bytes_of(*at);
      else
        plain = false;
    }
  }
};

/// Derives by key_schedule.h. False, and `out` untouched, if TLS 1.3 needs no such derivation.
bool derive_here(const Request& request, std::span<std::byte> out) {
  CipherSuite suite{};  // any with the hash
  if (request.digest == "SHA2-256" || request.digest == "SHA256")
    suite = CipherSuite::kAes128GcmSha256;
  else if (request.digest == "SHA2-384" || request.digest == "SHA384")
    suite = CipherSuite::kAes256GcmSha384;
  else
    return false;
  const std::size_t hash = hash_size(suite);
  if (!request.plain || request.prefix != kLabelPrefix) return false;

  if (request.mode == EVP_KDF_HKDF_MODE_EXPAND_ONLY) {
    if (request.key.size() != hash || request.label.size() > kMaxLabel ||
        request.context.size() > kMaxHashSize || !request.salt.empty() || out.size() > hash)
      return false;
    expand_label(suite, request.key, request.label, request.context, out);
    return true;
  }
  if (request.mode != EVP_KDF_HKDF_MODE_EXTRACT_ONLY || request.label != kDerived ||
      !request.context.empty() || out.size() != hash)
    return false;
  static constexpr std::array<std::byte, kMaxHashSize> kZeros{};  // RFC 8446 7.1: where none is
  const auto input = request.key.empty() ? std::span(kZeros).first(hash) : request.key;
  if (request.salt.empty()) {
    extract(suite, {}, input, out);
    return true;
  }
  if (request.salt.size() != hash) return false;
  next_stage(suite, request.salt, input, out);
  return true;
}

int derive(void* context, unsigned char* key, std::size_t size, const OSSL_PARAM* parameters) {
  const Request request(parameters);
  const std::span out(reinterpret_cast<std::byte*>(key), size);
  if (!derive_here(request, out) && openssl_derive(context, key, size, parameters) != 1) return 0;
  if (installed_tap != nullptr && !request.label.empty()) installed_tap->take(request.label, out);
  return 1;
}

// Derives by the TLS13-KDF of `library`, with the parameters that libssl gives.
bool derive_as_libssl(OSSL_LIB_CTX* library, const char* digest, int mode, std::string_view label,
                      std::span<const std::byte> key, std::span<const std::byte> more,
                      std::span<std::byte> out) {
  const auto octets = [](const char* name, const auto& bytes) {
    return OSSL_PARAM_construct_octet_string(
        name, const_cast<void*>(static_cast<const void*>(std::data(bytes))), std::size(bytes));
  };
  const bool expands = mode == EVP_KDF_HKDF_MODE_EXPAND_ONLY;
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, const_cast<char*>(digest), 0),
      octets(OSSL_KDF_PARAM_KEY, key),
      octets(expands ? OSSL_KDF_PARAM_DATA : OSSL_KDF_PARAM_SALT, more),
      octets(OSSL_KDF_PARAM_PREFIX, kLabelPrefix),
      octets(OSSL_KDF_PARAM_LABEL, label),
      OSSL_PARAM_construct_end()};
  EVP_KDF* kdf = EVP_KDF_fetch(library, OSSL_KDF_NAME_TLS1_3_KDF, nullptr);
  const EvpKdfCtxPtr context(EVP_KDF_CTX_new(kdf));
  EVP_KDF_free(kdf);
  return context && EVP_KDF_derive(context.get(), raw(out.data()), out.size(), parameters) == 1;
}

}  // namespace

bool override_tls13_kdf(OSSL_ALGORITHM& kdf) {
  static std::vector<OSSL_DISPATCH> table;
  const OSSL_DISPATCH* before =
      replace_function(kdf, OSSL_FUNC_KDF_DERIVE, reinterpret_cast<void (*)()>(derive), table);
  if (before != nullptr) openssl_derive = OSSL_FUNC_kdf_derive(before);
  return before != nullptr;
}

bool derives_as_openssl(OSSL_LIB_CTX* library) {
  struct Case {
    const char* digest;
    std::size_t size;
    int mode;
    std::string_view label;
  };
  constexpr int kExpand = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
  constexpr int kExtract = EVP_KDF_HKDF_MODE_EXTRACT_ONLY;
  constexpr std::array<Case, 7> kCases{{{"SHA256", 32, kExtract, kDerived},
                                        {"SHA256", 12, kExpand, kIv},
                                        {"SHA256", 32, kExpand, kClientSecret},
                                        {"SHA384", 48, kExtract, kDerived},
                                        {"SHA384", 32, kExpand, kKey},
                                        {"SHA384", 48, kExpand, kServerSecret},
                                        {"SHA384", 48, kExpand, kDerived}}};
  constexpr std::array<std::byte, kMaxHashSize> kInput{std::byte{1}, std::byte{2}};
  ApplicationSecrets secrets;
  const SecretTap secret_tap(secrets);
  for (const Case& each : kCases) {
    std::array<std::byte, kMaxHashSize> ours{};
    std::array<std::byte, kMaxHashSize> theirs{};
    const auto key = std::span(kInput).first(std::string_view(each.digest) == "SHA384" ? 48 : 32);
    if (!derive_as_libssl(library, each.digest, each.mode, each.label, key, key,
                          std::span(ours).first(each.size)) ||
        !derive_as_libssl(nullptr, each.digest, each.mode, each.label, key, key,
                          std::span(theirs).first(each.size)) ||
        ours != theirs)
      return false;
    const TrafficSecret* tapped = each.label == kClientSecret   ? &secrets.client.secret()
                                  : each.label == kServerSecret ? &secrets.server.secret()
                                                                : nullptr;
    if (tapped != nullptr &&
        !std::ranges::equal(tapped->bytes(), std::span(theirs).first(each.size)))
      return false;
  }
  return true;
}

SecretTap::SecretTap(ApplicationSecrets& secrets) noexcept : secrets_(secrets) {
  if (installed_tap != nullptr) std::abort();
  installed_tap = this;
}

SecretTap::~SecretTap() {
  installed_tap = nullptr;
}

void SecretTap::take(std::string_view label, std::span<const std::byte> derived) noexcept {
  if (label == kClientSecret) secrets_.client = DirectionState(TrafficSecret(derived));
  if (label == kServerSecret) secrets_.server = DirectionState(TrafficSecret(derived));
}

}  // namespace sallyport::ktls
