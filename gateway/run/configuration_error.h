#pragma once

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "gateway/observe/priority.h"
#include "gateway/run/exit_code.h"

namespace sallyport::gateway {

/// For a program that ends before there is a log: says what is wrong, on standard error. The exit
/// code.
inline int report_configuration_error(const std::string& what) {
  const bool journal = is_journal(STDERR_FILENO, std::getenv("JOURNAL_STREAM"));
  std::fprintf(stderr, "%ssallyport: %s\n", journal ? "<3>" : "", what.c_str());
  return kExitConfiguration;
}

}  // namespace sallyport::gateway
