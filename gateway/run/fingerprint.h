// A set of files in 32 bytes: equal fingerprints mean that nothing needs to be read again.
#pragma once

#include <array>
#include <cstddef>
#include <filesystem>
#include <span>

namespace sallyport::gateway {

using Fingerprint = std::array<std::byte, 32>;

/// SHA-256 over content, mode and owner of `files` in order, or over the error number where one
/// cannot be read, so that a file that appears or disappears changes it too. Mode and owner count
/// because keys are refused for them. Buffers are cleansed: private keys
/// pass through here. Blocks on the disk: control thread only.
Fingerprint fingerprint(std::span<const std::filesystem::path> files);

}  // namespace sallyport::gateway
