#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <expected>
#include <memory>
#include <string>
#include <vector>

#include "ktls/base/secret_bytes.h"
#include "ktls/trust/credentials_error.h"

namespace sallyport::ktls {

enum class FileRules {
  kPublic,
  kSecret,  ///< obeys the rules of key files (key_file.h); cleansed in memory
};

/// Reads a regular file (or a symlink to one) of at most `most_mib` MiB. Does not wait for the
/// writer of a FIFO. `status`, if given, is that of the file that was read, once it was.
std::expected<std::unique_ptr<SecretText>, CredentialsError> read_file(
    const std::string& file, FileRules rules, std::size_t most_mib = 64,
    struct stat* status = nullptr);

/// The files that a path stands for: itself, or of a directory all *.pem, *.crt and *.crl in it,
/// sorted. As a shell's patterns do, it leaves out names that begin with a dot: versions of a
/// Kubernetes volume. A directory without any is an error.
std::expected<std::vector<std::string>, CredentialsError> files_of(const std::string& path);

}  // namespace sallyport::ktls
