#include "ktls/keys/key_block.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <algorithm>
#include <string_view>

#include "ktls/base/openssl_handles.h"
#include "ktls/base/secret_bytes.h"

namespace sallyport::ktls {
namespace {

OSSL_PARAM parameter(const char* key, std::span<const std::byte> bytes) {
  return OSSL_PARAM_construct_octet_string(
      key, const_cast<void*>(static_cast<const void*>(bytes.data())), bytes.size());
}

/// PRF(secret, label, seed) of RFC 5246 5; the seed is what `first` and `second` are together.
bool prf(CipherSuite suite, std::span<const std::byte> secret, std::string_view label,
         std::span<const std::byte> first, std::span<const std::byte> second,
         std::span<std::byte> out) {
  // Fetched once: it holds no key, never changes, lives as long as the process.
  static EVP_KDF* const kdf = EVP_KDF_fetch(nullptr, OSSL_KDF_NAME_TLS1_PRF, nullptr);
  const EvpKdfCtxPtr context(kdf != nullptr ? EVP_KDF_CTX_new(kdf) : nullptr);
  if (!context) return false;
  char sha256[] = "SHA256";
  char sha384[] = "SHA384";
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST,
                                       suite == CipherSuite::kAes256GcmSha384 ? sha384 : sha256, 0),
      parameter(OSSL_KDF_PARAM_SECRET, secret),
      parameter(OSSL_KDF_PARAM_SEED, std::as_bytes(std::span(label))),
      parameter(OSSL_KDF_PARAM_SEED, first),
      parameter(OSSL_KDF_PARAM_SEED, second),
      OSSL_PARAM_construct_end(),
  };
  return EVP_KDF_derive(context.get(), raw(out.data()), out.size(), parameters) == 1;
}

}  // namespace

std::optional<KeyBlock> key_block(CipherSuite suite, std::span<const std::byte> master_secret,
                                  std::span<const std::byte> client_random,
                                  std::span<const std::byte> server_random) {
  const std::size_t key = key_size(suite);
  const std::size_t iv = fixed_iv_size(suite);
  SecretBytes<2 * (kMaxKeySize + kIvSize)> block;
  const std::span<std::byte> bytes = block.resize(2 * (key + iv));
  if (!prf(suite, master_secret, "key expansion", server_random, client_random, bytes)) {
    (void)OpensslError::drain();
    return std::nullopt;
  }
  // The client's key, the server's key, the client's iv, the server's iv.
  const auto direction = [&](std::size_t index) {
    SecretBytes<kMaxKeySize + kIvSize> part;
    const std::span<std::byte> out = part.resize(key + iv);
    std::ranges::copy(bytes.subspan(index * key, key), out.begin());
    std::ranges::copy(bytes.subspan(2 * key + index * iv, iv), out.subspan(key).begin());
    return TrafficSecret(part.bytes());
  };
  return KeyBlock{.client = direction(0), .server = direction(1)};
}

}  // namespace sallyport::ktls
