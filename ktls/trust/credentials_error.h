#pragma once

#include <expected>
#include <optional>
#include <string>

namespace sallyport::ktls {

/// What is wrong with a certificate, key, trust, CRL or ticket-key file, or with a TLS setting.
struct CredentialsError {
  std::string file;              ///< empty: a setting, which `what` names
  std::optional<unsigned> line;  ///< 1-based, where it can be told
  std::string what;              ///< the reason; never holds a secret

  /// "file:line: what", as far as known.
  std::string message() const;
};

/// A CredentialsError, for a function that returns one.
std::unexpected<CredentialsError> credentials_error(std::string file, std::optional<unsigned> line,
                                                    std::string what);
/// The same without a line.
std::unexpected<CredentialsError> credentials_error(std::string file, std::string what);

}  // namespace sallyport::ktls
