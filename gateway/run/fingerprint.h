// A set of files in 32 bytes: equal fingerprints mean that nothing needs to be read again.
#pragma once

#include <array>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace sallyport::gateway {

using Fingerprint = std::array<std::byte, 32>;

/// SHA-256 over content, mode and owner of `files` in order, or over the error number where one
/// cannot be read, so that a file that appears or disappears changes it too. Mode and owner count
/// because keys are refused for them. Buffers are cleansed: private keys
/// pass through here. Blocks on the disk: control thread only.
Fingerprint fingerprint(std::span<const std::filesystem::path> files);

/// The file, or the directory and what a bundle takes of it.
std::vector<std::filesystem::path> expand(const std::string& source);

/// Of sources (files or directories), each looked at once: what is read afterwards is of that state
/// or newer, and what several have in common is the same to all of them.
class Fingerprints {
 public:
  /// Of each in order.
  Fingerprint of(std::span<const std::string> sources);

 private:
  std::map<std::string, Fingerprint, std::less<>> known_;
};

}  // namespace sallyport::gateway
