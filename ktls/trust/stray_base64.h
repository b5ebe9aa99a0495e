#pragma once

#include <string_view>

namespace sallyport::ktls {

/// Whether a line outside of PEM blocks holds base64 that may have been meant for one: a block
/// whose marks are lost, `cert=MII...`, the x5c of a JWK, a value of a Kubernetes Secret. Signs of
/// it, anywhere in the line, in the alphabet of base64 or base64url:
/// - the beginning of a certificate, list, key or PKCS #7 object in DER;
/// - the base64 of "-----BEGIN ";
/// - 48 digits and more without a slash, of mixed upper case, lower case and decimal digits. Base64
///   of any data looks so; hexadecimal, names, paths and URLs do not.
bool holds_base64(std::string_view line) noexcept;

}  // namespace sallyport::ktls
