#pragma once

#include <cstddef>
#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ktls/base/secret_bytes.h"
#include "ktls/trust/credentials_error.h"

namespace sallyport::ktls {

enum class FileRules {
  kPublic,
  kSecret,  ///< owner is root or us, nobody else may read or write it; cleansed in memory
};

/// Reads a regular file (or a symlink to one) of at most 64 MiB.
std::expected<std::unique_ptr<SecretText>, CredentialsError> read_file(const std::string& file,
                                                                       FileRules rules);

/// One `-----BEGIN label-----` block of RFC 7468.
struct PemBlock {
  std::string_view label;  ///< "CERTIFICATE"
  std::string_view text;   ///< from BEGIN to END, both included; lies in the text that was cut
  unsigned line = 0;       ///< of BEGIN, 1-based
};

/// Cuts a text into its blocks; what stands between them is ignored. Errors: a BEGIN without its
/// END, with its line. A text without any block gives none.
std::expected<std::vector<PemBlock>, CredentialsError> cut_pem(std::string_view text,
                                                               const std::string& file);

}  // namespace sallyport::ktls
