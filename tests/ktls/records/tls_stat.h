#pragma once

#include <fstream>
#include <map>
#include <string>

namespace sallyport::ktls::testing {

/// The counters of the kernel's TLS (/proc/net/tls_stat), of all connections in this network
/// namespace. Empty where there is none.
using TlsStat = std::map<std::string, long>;

inline TlsStat tls_stat() {
  TlsStat counters;
  std::ifstream file("/proc/net/tls_stat");
  std::string counter;
  long value = 0;
  while (file >> counter >> value) counters[counter] = value;
  return counters;
}

}  // namespace sallyport::ktls::testing
