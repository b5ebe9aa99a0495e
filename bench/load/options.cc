#include "bench/load/options.h"

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace sallyport::bench {
namespace {

constexpr const char* kUsage = R"(usage: sallyport-load MODE --connect ADDR:PORT [options]
modes
  handshake   full handshakes: connect, one byte there and back, close
  resumed     the same with the newest ticket
  download    --bytes from the backend, over --connections
  upload      --bytes to the backend
  request     --block bytes there and back; closed loop, or --rate a second open loop
  idle        hold --connections, each having echoed once; reports resident memory
              with --resume all but the first few come by a resumed handshake
  storm       request at --rate, alone and then beside full handshakes at full speed
  crypto      the arithmetic of handshakes and of records of --record bytes; makes no connection
options
  --cert FILE --key FILE   client chain and key (PEM)
  --issuer FILE --issuer-key FILE
                           a CA (PEM) that issues each connection a certificate of its own, for
                           spiffe://bench.example/peer/even/N or .../odd/N; the openssl client only
  --ca FILE                verify the server (default: do not)
  --sni NAME
  --client openssl|lean|plain (openssl)
  --ciphersuites LIST      (TLS_AES_256_GCM_SHA384)
  --groups LIST            (X25519)
  --tls12                  TLS 1.2 with ECDHE-ECDSA-AES256-GCM-SHA384; the openssl client only
  --nagle                  leave TCP_NODELAY off
  --pid PID                process under test, with all its children; repeatable
  --connections N (64)   --rate PER_SECOND (0)   --warmup S (1)   --seconds S (5)
  --bytes N (1000000000)   --block N (1024)   --sources N (1)   --opening N (64)
  --settle S (2)   --hold S (0)   --realtime   --resume
  --write N                download: bytes in each write of the backend (as many as it can)
  --record N               lean client: most plaintext in a record that it sends (16384)
  --machine                report the CPU time of kernel threads and of the whole machine, too
)";

[[noreturn]] void usage(std::string_view what) {
  std::fprintf(stderr, "sallyport-load: %.*s\n%s", static_cast<int>(what.size()), what.data(),
               kUsage);
  std::exit(2);
}

double number(std::string_view flag, const char* text) {
  char* end = nullptr;
  const double value = std::strtod(text, &end);
  if (end == text || *end != '\0' || !(value >= 0)) usage(std::string(flag) + ": not a number");
  return value;
}

}  // namespace

Options parse_options(int argc, char** argv) {
  Options options;
  if (argc < 2 || argv[1][0] == '-') usage("no mode");
  options.mode = argv[1];
  for (int i = 2; i < argc; ++i) {
    const std::string_view flag = argv[i];
    if (flag == "--realtime") {
      options.realtime = true;
      continue;
    }
    if (flag == "--tls12") {
      options.tls12 = true;
      continue;
    }
    if (flag == "--nagle") {
      options.nagle = true;
      continue;
    }
    if (flag == "--machine") {
      options.machine = true;
      continue;
    }
    if (flag == "--resume") {
      options.resume = true;
      continue;
    }
    if (++i == argc) usage(std::string(flag) + ": value missing");
    const char* const value = argv[i];
    const auto count = [&] { return static_cast<uint64_t>(number(flag, value)); };
    const auto time = [&] { return std::chrono::duration<double>(number(flag, value)); };
    if (flag == "--connect")
      options.connect = value;
    else if (flag == "--cert")
      options.certificate = value;
    else if (flag == "--key")
      options.key = value;
    else if (flag == "--issuer")
      options.issuer = value;
    else if (flag == "--issuer-key")
      options.issuer_key = value;
    else if (flag == "--ca")
      options.ca = value;
    else if (flag == "--sni")
      options.sni = value;
    else if (flag == "--client")
      options.client = value;
    else if (flag == "--ciphersuites")
      options.ciphersuites = value;
    else if (flag == "--groups")
      options.groups = value;
    else if (flag == "--pid")
      options.pids.push_back(static_cast<pid_t>(count()));
    else if (flag == "--connections")
      options.connections = static_cast<unsigned>(count());
    else if (flag == "--rate")
      options.rate = number(flag, value);
    else if (flag == "--warmup")
      options.warmup = time();
    else if (flag == "--seconds")
      options.duration = time();
    else if (flag == "--settle")
      options.settle = time();
    else if (flag == "--hold")
      options.hold = time();
    else if (flag == "--bytes")
      options.bytes = count();
    else if (flag == "--block")
      options.block = count();
    else if (flag == "--write")
      options.write = count();
    else if (flag == "--record")
      options.record = count();
    else if (flag == "--sources")
      options.sources = static_cast<unsigned>(count());
    else if (flag == "--opening")
      options.opening = static_cast<unsigned>(count());
    else
      usage(std::string(flag) + ": unknown");
  }
  if (options.connect.empty() && options.mode != "crypto") usage("--connect is required");
  if (options.tls12 && options.client != "openssl") usage("--tls12 is for --client openssl");
  if (options.issuer.empty() != options.issuer_key.empty()) usage("--issuer needs --issuer-key");
  if (!options.issuer.empty() && options.client != "openssl")
    usage("--issuer is for --client openssl");
  if (options.connections == 0 || options.sources == 0 || options.sources > 250 ||
      options.opening == 0 || options.block == 0 || options.record > 16384) {
    usage("a count is out of range");
  }
  return options;
}

}  // namespace sallyport::bench
