#pragma once
// For the programs of the build that make documents of a table.
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <string>

namespace sallyport::metrics {

/// Replaces the file. False, with the path on stderr, where it cannot be written.
[[nodiscard]] inline bool write_document(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (!file)
    std::fprintf(stderr, "%s: cannot write %s\n", program_invocation_short_name, path.c_str());
  return static_cast<bool>(file);
}

}  // namespace sallyport::metrics
