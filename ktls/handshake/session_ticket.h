#pragma once

#include <openssl/types.h>

#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "ktls/trust/tickets.h"

namespace sallyport::ktls {

/// AES-256-CBC, fetched once: OpenSSL looks up an EVP_aes_256_cbc() at each use. Null only if
/// libcrypto has none. Any thread.
const EVP_CIPHER* ticket_cipher();

/// The ticket that OpenSSL opens to `session`, which is OpenSSL's serialised form of a session: RFC
/// 5077 4 with ticket_cipher() and HMAC-SHA256. Nothing if memory or random numbers are short. Any
/// thread.
std::optional<std::vector<std::byte>> seal_session(const TicketSecrets::Key& key,
                                                   std::span<const std::byte> session);

/// The NewSessionTicket message (RFC 8446 4.6.1), with its header and without extensions: early
/// data is not accepted. `age_add` is random, `nonce` another one for each ticket of a connection.
std::vector<std::byte> new_session_ticket(std::chrono::seconds lifetime,
                                          std::span<const std::byte, 4> age_add,
                                          std::span<const std::byte> nonce,
                                          std::span<const std::byte> ticket);

}  // namespace sallyport::ktls
