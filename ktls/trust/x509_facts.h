#pragma once

#include <openssl/x509.h>

#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ktls/base/openssl_handles.h"
#include "ktls/trust/peer_trust.h"

namespace sallyport::ktls {

/// Values and texts of certificates, for logs, facts and digests. None of these functions fails on
/// what OpenSSL has decoded.

/// A time that is absent or cannot be decoded is the epoch.
std::chrono::sys_seconds to_time(const ASN1_TIME* time);

/// RFC 2253 with UTF-8, control characters escaped; cut to at most 256 bytes, between
/// characters.
std::string name_text(const X509_NAME* name);

/// The commonName in a text of name_text(), unescaped: the first one as the certificate has them.
/// Empty: there is none, the text was cut, or it has control characters.
std::string common_name(std::string_view name_text);

/// Hexadecimal, upper case, "-" first if negative; as `openssl x509 -serial` prints it. "of N
/// bytes" for more than 128.
std::string serial_text(const ASN1_INTEGER* serial);

/// The same of what serial_bytes() gave.
std::string serial_text(std::string_view content);

/// The INTEGER's value as DER content, so with its sign.
std::string serial_bytes(const ASN1_INTEGER* serial);
/// The INTEGER of such content; null: it is of none.
Asn1IntegerPtr serial_of(std::string_view content);

/// "EC P-256", "EC secp256k1", "RSA 2048", "Ed25519", ...
std::string key_text(const X509* certificate);

/// The bytes of a string, which keeps them.
std::string_view asn1_view(const ASN1_STRING* text);

/// Why X509V3_get_d2i(3), or one of its kind, returned nothing for the extension `name`; no text if
/// the extension is absent. `answer` is what it wrote to its argument `crit`.
std::optional<std::string> why_not_decoded(int answer, std::string_view name);

/// "dns:NAME", "ip:ADDRESS" and URIs as they are, of subjectAltName, in its order; those of other
/// kinds are left out. Bytes of the certificate, to be made printable where they are
/// shown.
std::vector<std::string> alternative_names(const X509* certificate);

std::vector<std::byte> to_der(const X509* certificate);

Sha256 sha256(std::span<const std::byte> bytes);

}  // namespace sallyport::ktls
