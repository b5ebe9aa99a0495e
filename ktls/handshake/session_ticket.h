#pragma once

#include <openssl/types.h>

#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "ktls/trust/tickets.h"

namespace sallyport::ktls {

/// AES-256-CBC, looked up once: an EVP_aes_256_cbc() is looked up whenever it is used. Null only if
/// libcrypto has none. Any thread.
const EVP_CIPHER* ticket_cipher();

/// `session`, OpenSSL's serialised form of one, sealed as OpenSSL will open it: RFC 5077 4 with
/// ticket_cipher() and HMAC-SHA256. Nothing if memory or random numbers are short. Any thread.
std::optional<std::vector<std::byte>> seal_session(const TicketSecrets::Key& key,
                                                   std::span<const std::byte> session);

/// The NewSessionTicket message (RFC 8446 4.6.1), header and all, without extensions: we take no
/// early data. `nonce` is another one for each ticket of a connection. Nothing if random numbers
/// are short.
std::optional<std::vector<std::byte>> new_session_ticket(std::chrono::seconds lifetime,
                                                         std::span<const std::byte> nonce,
                                                         std::span<const std::byte> ticket);

}  // namespace sallyport::ktls
