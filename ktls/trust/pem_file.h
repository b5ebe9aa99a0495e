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
  std::string label;  ///< "CERTIFICATE"
  /// From BEGIN to END in the form that OpenSSL reads: no byte order mark, no blanks at either end
  /// of a line, lines that end in LF. Cleansed when it dies.
  std::unique_ptr<SecretText> text;
  unsigned line = 0;  ///< of BEGIN, 1-based; LF, CR LF and CR end lines
};

/// Cuts a text into its blocks, wherever on a line they begin and end: behind a byte order mark or
/// blanks, indented, glued to one another. What stands between them is ignored, but nothing that
/// may have been meant for a block: errors, with their line, are a BEGIN or END without the other,
/// labels that differ, dashes that make no BEGIN or END, and NUL bytes (UTF-16, DER). A text
/// without any block gives none.
std::expected<std::vector<PemBlock>, CredentialsError> cut_pem(std::string_view text,
                                                               const std::string& file);

}  // namespace sallyport::ktls
