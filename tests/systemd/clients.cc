// Clients that come and go without a pause while gateways are exchanged, and the world that a
// gateway needs for them: a backend, certificates, a discovery file.
//
//   systemd_clients FOLDER USER ADDRESS ADMIN-SOCKET
//
// Writes gateway.pem, gateway.key (of USER), ca.pem and discovery.json into FOLDER, then
// `prepared`. Clients begin when there is a file `begin`, and end when there is a file `end`. Of
// how that went the last line tells; the exit code is 0 if no client was refused, reset, or served
// in any other way than it should be.
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/backend.h"
#include "tests/support/gateway.h"
#include "tests/support/net.h"
#include "tests/support/pki.h"
#include "tests/support/tls_client.h"
#include "tests/support/wait.h"

using namespace sallyport::test;

namespace {

constexpr int kThreads = 3;

// Of all clients.
class Tally {
 public:
  void good() { ++good_; }
  void bad(const std::string& what) {
    const std::lock_guard lock(mutex_);
    if (bad_++ < 10) std::fprintf(stderr, "systemd_clients: %s\n", what.c_str());
  }
  [[nodiscard]] bool all_good() const { return good_ > 0 && bad_ == 0; }
  void report() const { std::printf("clients: %d served, %d not\n", good_.load(), bad_.load()); }

 private:
  std::mutex mutex_;
  std::atomic<int> good_ = 0;
  std::atomic<int> bad_ = 0;
};

// A handshake, an echo and an end in order; what was wrong.
std::string come_and_go(const std::string& address, ClientOptions options) {
  try {
    TlsClient tls(address, std::move(options));
    if (!tls.connected())
      return std::string("handshake: ") + to_string(tls.end()) + tls.tls_error();
    if (!tls.echo("ping")) return std::string("echo: ") + to_string(tls.end());
    tls.close_notify();
    tls.receive_all();
    if (tls.end() != TlsEnd::kCloseNotify) return std::string("end: ") + to_string(tls.end());
  } catch (const TestFailure& failure) {
    return failure.what();
  }
  return {};
}

std::string ask_admin(const std::string& socket) {
  try {
    const HttpResponse answer = http("unix:" + socket, "/readyz");
    if (answer.status != 200) return "/readyz: " + std::to_string(answer.status) + answer.body;
  } catch (const TestFailure& failure) {
    return failure.what();
  }
  return {};
}

void write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  if (!file.flush()) throw TestFailure(path.string() + ": not written");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  const std::filesystem::path folder = argv[1];
  const std::string address = argv[3];
  const std::string admin = argv[4];
  const passwd* const user = ::getpwnam(argv[2]);
  if (user == nullptr) return 2;

  const TestAuthority root("Mesh Root");
  const TestCertificate server = root.issue({.cn = "gateway", .dns = {"orders.example.org"}});
  const TestCertificate client =
      root.issue({.cn = "web", .spiffe = {"spiffe://example.org/ns/shop/sa/web"}});
  const Backend backend(echo());
  write(folder / "gateway.pem", server.chain_pem);
  write(folder / "gateway.key", server.key_pem);
  if (::chmod((folder / "gateway.key").c_str(), 0400) != 0 ||
      ::chown((folder / "gateway.key").c_str(), user->pw_uid, user->pw_gid) != 0)
    return EXIT_FAILURE;
  write(folder / "ca.pem", root.cert_pem());
  write(folder / "discovery.json", discovery_json({{{backend.address()}, {{"route", "orders"}}}}));
  write(folder / "prepared", "");

  const auto there = [&](const char* name) { return std::filesystem::exists(folder / name); };
  while (!there("begin")) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  std::atomic<bool> over = false;
  Tally tally;
  std::vector<std::thread> clients;
  for (int thread = 0; thread < kThreads; ++thread) {
    clients.emplace_back([&, thread] {
      for (int i = 0; !over; ++i) {
        ClientOptions options{
            .certificate = client,
            .trust_pem = root.cert_pem(),
            .sni = "orders.example.org",
            .source = "127.1." + std::to_string(thread) + "." + std::to_string(1 + i % 200) + ":0"};
        const std::string wrong = come_and_go(address, std::move(options));
        if (wrong.empty())
          tally.good();
        else
          tally.bad(wrong);
      }
    });
  }
  clients.emplace_back([&] {
    while (!over) {
      if (const std::string wrong = ask_admin(admin); !wrong.empty()) tally.bad(wrong);
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  });
  while (!there("end")) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  over = true;
  for (std::thread& each : clients) each.join();
  tally.report();
  return tally.all_good() ? EXIT_SUCCESS : EXIT_FAILURE;
}
