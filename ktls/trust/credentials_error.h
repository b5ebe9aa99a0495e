#pragma once

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

}  // namespace sallyport::ktls
