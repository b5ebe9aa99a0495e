#pragma once

#include <expected>
#include <memory>
#include <string>

#include "ktls/base/secret_bytes.h"
#include "ktls/trust/credentials_error.h"

namespace sallyport::ktls {

enum class FileRules {
  kPublic,
  kSecret,  ///< owned by root or this user, not readable or writable by others; cleansed in memory
};

/// Reads a regular file (or a symlink to one) of at most 64 MiB.
std::expected<std::unique_ptr<SecretText>, CredentialsError> read_file(const std::string& file,
                                                                       FileRules rules);

}  // namespace sallyport::ktls
