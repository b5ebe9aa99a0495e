#pragma once

#include <expected>
#include <memory>
#include <string>

#include "ktls/base/secret_bytes.h"
#include "ktls/trust/credentials_error.h"

namespace sallyport::ktls {

enum class FileRules {
  kPublic,
  kSecret,  ///< obeys the rules of key files (key_file.h); cleansed in memory
};

/// Reads a regular file (or a symlink to one) of at most 64 MiB.
std::expected<std::unique_ptr<SecretText>, CredentialsError> read_file(const std::string& file,
                                                                       FileRules rules);

}  // namespace sallyport::ktls
