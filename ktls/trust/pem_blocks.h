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

/// One `-----BEGIN label-----` block of RFC 7468. Both views lie in the text that was cut.
struct PemBlock {
  std::string_view label;  ///< "CERTIFICATE"
  std::string_view body;   ///< between the two marks: base64 and white space, not decoded yet
  unsigned line = 0;       ///< of BEGIN, 1-based; see line_end()
};

/// Cuts a text into its blocks: indented, behind a byte order mark, glued to one another, in one
/// line. Before a BEGIN stands nothing in its line but white space, byte order marks, or the END of
/// the block before it. Text in other lines is ignored, unless it may have been meant for a block.
/// Errors, with their line: a BEGIN or END without the other, labels that differ, what looks like a
/// mark and is none, a BEGIN behind text (the sign of a comment, in whatever language), base64
/// outside of a block, and NUL bytes (UTF-16, DER). A text without any block gives an empty list.
std::expected<std::vector<PemBlock>, CredentialsError> cut_pem(std::string_view text,
                                                               const std::string& file);

/// The decoded bytes of the block. Null if its body is not base64, or has headers before it (RFC
/// 1421 4.4).
std::unique_ptr<SecretText> decode(const PemBlock& block);

}  // namespace sallyport::ktls
