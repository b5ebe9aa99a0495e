#pragma once

#include <openssl/types.h>

#include <functional>
#include <optional>
#include <string>

#include "ktls/openssl/tls13_kdf.h"

namespace sallyport::ktls {

/// Tries a tuned library before it is used: for each cipher suite a mutual TLS 1.3 handshake in
/// memory, its server in `library`, its client in OpenSSL's default context. Records that the
/// client then seals must open under the secrets that the library reported, and the client must
/// open records that are sealed under them. Some 3 ms a suite, with a throwaway P-256 certificate.
/// Any thread.
///
/// Returns nothing on success, else what is wrong. `alter` is for tests: it changes the secrets
/// that were reported.
std::optional<std::string> disprove_tuning(
    OSSL_LIB_CTX* library, const std::function<void(ApplicationSecrets&)>& alter = {});

}  // namespace sallyport::ktls
