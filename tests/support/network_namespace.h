#pragma once

#include <string>
#include <string_view>

#include "tests/support/net.h"

namespace sallyport::test {

/// A network namespace of the test's own, with nothing in it but a loopback interface that is up:
/// its settings (sysctl net.*) are the test's to change, and no other process has a port. While it
/// lives the thread that made it is in there, and with it what that thread starts.
class NetworkNamespace {
 public:
  NetworkNamespace();
  /// Takes the thread back to where it was.
  ~NetworkNamespace();
  NetworkNamespace(const NetworkNamespace&) = delete;
  NetworkNamespace& operator=(const NetworkNamespace&) = delete;

  /// Why there is none: a test that needs it skips. Root may always; others where the system lets
  /// them make user namespaces, before their first thread.
  const std::string& missing() const { return missing_; }

  /// Writes a setting, "ipv4.tcp_migrate_req". Throws TestFailure where the kernel refuses it.
  static void set(std::string_view setting, std::string_view value);

  /// Runs ip(8) there, as `"addr add 10.77.0.1/32 dev lo"`. Throws TestFailure with what it said.
  static void ip(const std::string& command);

 private:
  Fd before_;
  std::string missing_;
};

}  // namespace sallyport::test
