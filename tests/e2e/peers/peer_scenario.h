// What tests with other programs as clients share: the credentials as files, and where to connect.
// A program that is not installed makes the test fail; tests/run installs them all.
#pragma once

#include <functional>
#include <string>

#include "tests/e2e/scenario.h"

namespace sallyport::test {

/// Starts a server that must be told its TCP address: `start` tries one, and says whether it came
/// up.
inline void start_on_free_port(const std::string& program,
                               const std::function<bool(const std::string& address)>& start) {
  // Another process may take the port between our asking and its binding.
  for (int tries = 0; tries < 5; ++tries) {
    const std::string address = RefusingAddress().address();  // which it gives back
    if (start(address)) return;
  }
  throw TestFailure(program + " does not start");
}

class PeerScenario : public Scenario {
 protected:
  static constexpr char kName[] = "orders.example.org";

  void write_files(const TestCertificate& certificate) {
    dir.write("client.pem", certificate.chain_pem);
    dir.write_secret("client.key", certificate.key_pem);
    dir.write("anchors.pem", root.cert_pem());
  }
  std::string cert() const { return dir / "client.pem"; }
  std::string key() const { return dir / "client.key"; }
  std::string ca() const { return dir / "anchors.pem"; }
  std::string port() const { return gateway->address().substr(gateway->address().rfind(':') + 1); }

  /// Writes a line to a talking client and waits for it to come back.
  static void talk(Process& process, const std::string& line) {
    process.write(line + "\n");
    process.wait_out("the echo of " + line, [&](std::string_view out) {
      return out.find(line) != std::string_view::npos;
    });
  }
};

}  // namespace sallyport::test
