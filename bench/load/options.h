// The command line of sallyport-load.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace sallyport::bench {

struct Options {
  std::string mode;     // handshake resumed download upload request idle storm crypto
  std::string connect;  // ADDR:PORT of the process under test
  std::string certificate;
  std::string key;
  std::string ca;  // empty: the server's certificate is not verified (it is not under test)
  std::string issuer, issuer_key;  ///< PEM; empty: `certificate` for all
  std::string sni;
  std::string client = "openssl";  // openssl | lean | plain
  std::string ciphersuites = "TLS_AES_256_GCM_SHA384";
  std::string groups = "X25519";
  bool tls12 = false;         // the openssl client speaks TLS 1.2 alone
  bool nagle = false;         // TCP_NODELAY is left off, as many clients have it
  std::vector<pid_t> pids;    // roots of the process trees under test
  unsigned connections = 64;  // held, or (handshakes) at work at once
  double rate = 0;            // units a second, open loop; 0: closed loop
  std::chrono::duration<double> warmup{1};
  std::chrono::duration<double> duration{5};
  std::chrono::duration<double> settle{2};  // idle: between the last echo and the measurement
  std::chrono::duration<double> hold{0};    // idle: how long to hold after the report
  bool resume = false;                      // idle: with the newest ticket of the others
  uint64_t bytes = 1'000'000'000;           // download, upload: over all connections
  size_t block = 1024;                      // request, response
  size_t write = 0;       // download: what the backend hands to the kernel at once; 0: all it can
  size_t record = 0;      // lean client: most plaintext in a record that it sends; 0: 16 KiB
  unsigned sources = 1;   // source addresses 127.0.0.1 .. 127.0.0.N
  unsigned opening = 64;  // handshakes at work at once while connections are set up
  bool realtime = false;  // SCHED_RR: latencies without the scheduler's share
  bool machine = false;   // report what kernel threads and the whole machine spent, too
};

/// Exits with 2 and the usage on a bad command line.
Options parse_options(int argc, char** argv);

}  // namespace sallyport::bench
