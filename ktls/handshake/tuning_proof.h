#pragma once

#include <openssl/types.h>

#include <functional>
#include <optional>
#include <string>

#include "ktls/openssl/tls13_kdf.h"

namespace sallyport::ktls {

/// Tries a tuned library before it serves anyone: for each cipher suite a mutual TLS 1.3 handshake
/// in memory, its server in `library`, its client in OpenSSL's default context. What the client
/// then seals must open under the secrets that the library told, and the client
/// must open what is sealed under them. Some 3 ms a suite, with a throwaway P-256 certificate. Any
/// thread.
///
/// Nothing if all is well, else what is wrong. `alter` is for tests: it changes what was told.
std::optional<std::string> disprove_tuning(
    OSSL_LIB_CTX* library, const std::function<void(ApplicationSecrets&)>& alter = {});

}  // namespace sallyport::ktls
