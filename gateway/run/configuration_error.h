#pragma once

#include <cstdio>
#include <string>

#include "gateway/run/exit_code.h"

namespace sallyport::gateway {

/// For a program that ends before there is a log: says what is wrong, on standard error. The exit
/// code.
inline int report_configuration_error(const std::string& what) {
  std::fprintf(stderr, "sallyport: %s\n", what.c_str());
  return kExitConfiguration;
}

}  // namespace sallyport::gateway
