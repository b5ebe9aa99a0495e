// write_flag_documents DIR: man page and completions into a folder that exists. Used by the build
// only; what it writes is installed.
#include <cstdio>
#include <string>

#include "gateway/run/flag_documents.h"
#include "metrics/write_document.h"

int main(int argc, char** argv) {
  using namespace sallyport::gateway;
  using sallyport::metrics::write_document;
  if (argc != 2) {
    std::fputs("usage: write_flag_documents DIR\n", stderr);
    return 2;
  }
  const std::string to = std::string(argv[1]) + "/";
  const bool written = write_document(to + "sallyport.8", man_page()) &&
                       write_document(to + "sallyport.bash", bash_completion()) &&
                       write_document(to + "_sallyport", zsh_completion()) &&
                       write_document(to + "sallyport.fish", fish_completion());
  return written ? 0 : 1;
}
