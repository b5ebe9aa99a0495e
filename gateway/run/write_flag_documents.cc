// write_flag_documents DIR: man page and completions into a folder that exists. Used by the build
// only; what it writes is installed.
#include <cstdio>
#include <fstream>
#include <string>

#include "gateway/run/flag_documents.h"

namespace {

bool write(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (!file) std::fprintf(stderr, "write_flag_documents: cannot write %s\n", path.c_str());
  return static_cast<bool>(file);
}

}  // namespace

int main(int argc, char** argv) {
  using namespace sallyport::gateway;
  if (argc != 2) {
    std::fputs("usage: write_flag_documents DIR\n", stderr);
    return 2;
  }
  const std::string to = std::string(argv[1]) + "/";
  const bool written =
      write(to + "sallyport.8", man_page()) && write(to + "sallyport.bash", bash_completion()) &&
      write(to + "_sallyport", zsh_completion()) && write(to + "sallyport.fish", fish_completion());
  return written ? 0 : 1;
}
