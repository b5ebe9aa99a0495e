// Versions of the program, its libraries and the kernel: for --version, build_info and the first
// log line.
#pragma once

#include <string>

namespace sallyport::gateway {

struct Versions {
  std::string sallyport;
  std::string commit;    ///< of the sources, abbreviated; empty: they were no checkout
  std::string openssl;   ///< of the library loaded, "3.0.22"
  std::string liburing;  ///< that we were built with, "2.3"
  std::string kernel;    ///< uname -r
};

[[nodiscard]] Versions versions();

}  // namespace sallyport::gateway
