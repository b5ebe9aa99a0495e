#pragma once

#include <openssl/types.h>

#include <cstdint>
#include <functional>
#include <string>

namespace sallyport::ktls {

struct ApplicationSecrets;
struct TunedLibrary;

/// Which OpenSSL the handshakes of this process run on.
enum class TlsLibraryMode : std::uint8_t {
  kTuned,  ///< a library context of our own, beyond OpenSSL's public API (ktls/openssl)
  kStock,  ///< OpenSSL's default context, by its public API alone
};
/// "tuned", "stock": the label of tls_library{mode}.
const char* to_string(TlsLibraryMode mode) noexcept;

struct TlsLibrary {
  TlsLibraryMode mode = TlsLibraryMode::kStock;
  OSSL_LIB_CTX* context = nullptr;  ///< for SSL_CTX_new_ex(); null in kStock
  std::string reason;               ///< why kStock
};

/// Keeps OpenSSL from loading the names of its legacy ciphers (OPENSSL_init_crypto(3)), 170 of
/// them, which OpenSSL 3.0 copies into each library context and walks over some ten times a
/// handshake. EVP_get_cipherbyname(3) finds no cipher from then on; EVP_CIPHER_fetch(3), by which
/// OpenSSL's TLS finds them, does not need the names. Before any other use of OpenSSL in the
/// process: later it has no effect.
void skip_legacy_cipher_names() noexcept;

/// The library of `tuned` if there is one and disprove_tuning() finds nothing wrong with it, else
/// kStock and why. `alter` is for tests, see there.
TlsLibrary proven(const TunedLibrary& tuned,
                  const std::function<void(ApplicationSecrets&)>& alter = {});

/// `tuning` is --openssl-tuning. The tuned library is made by the first call with it, tried by
/// handshakes in memory (disprove_tuning()), and kept as long as the process. The mode is kStock
/// where the system's OpenSSL is configured (a FIPS provider, for example) or the trial fails. The
/// first call blocks for some milliseconds. Any thread.
const TlsLibrary& tls_library(bool tuning);

/// The providers of OpenSSL's default context, as the system's configuration has them, with blanks
/// between: "default", "base fips". All cryptography comes from them, in kTuned from "default". Any
/// thread.
std::string openssl_providers();

}  // namespace sallyport::ktls
