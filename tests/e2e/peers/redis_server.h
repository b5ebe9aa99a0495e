#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/e2e/peers/peer_scenario.h"

namespace sallyport::test {

/// A redis-server that stores nothing on disk, on a TCP port of its own and on a unix socket. With
/// an authority the port is for mutual TLS within that, and the server's name redis.example.org.
class RedisServer {
 public:
  explicit RedisServer(const TempDir& dir, const TestAuthority* authority = nullptr)
      : socket_("unix:" + (dir / "redis.sock").string()) {
    const std::vector<std::string> tls =
        authority ? tls_settings(dir, *authority) : std::vector<std::string>();
    start_on_free_port("redis-server",
                       [&](const std::string& address) { return start(dir, address, tls); });
  }

  const std::string& tcp() const { return tcp_; }
  const std::string& socket() const { return socket_; }
  Process& process() { return *process_; }

  long executed() const {
    const Fd asking = connect_to(socket_);
    send_all(asking, "DBSIZE\r\n");
    std::string answer;
    while (answer.find('\n') == std::string::npos) {
      if (receive(asking, answer, answer.size() + 1) != StreamEnd::kOpen) return -1;
    }
    return std::stol(answer.substr(1));
  }
  void forget_all() const {
    const Fd asking = connect_to(socket_);
    send_all(asking, "FLUSHALL\r\n");
    std::string answer;
    receive(asking, answer, 5);
  }

 private:
  static std::vector<std::string> tls_settings(const TempDir& dir, const TestAuthority& authority) {
    const TestCertificate own = authority.issue({.cn = "redis", .dns = {"redis.example.org"}});
    return {"--tls-cert-file",    dir.write("redis.pem", own.chain_pem),
            "--tls-key-file",     dir.write_secret("redis.key", own.key_pem),
            "--tls-ca-cert-file", dir.write("redis-ca.pem", authority.cert_pem()),
            "--tls-auth-clients", "yes"};
  }
  bool start(const TempDir& dir, const std::string& address, const std::vector<std::string>& tls) {
    tcp_ = address;
    const std::string path = socket_.substr(socket_.find(':') + 1);
    const std::string port = tcp_.substr(tcp_.rfind(':') + 1);
    std::vector<std::string> argv{"redis-server", "--bind", "127.0.0.1",
                                  "--unixsocket", path,     "--dir",
                                  dir / ".",      "--save", ""};
    const std::vector<std::string> ports =
        tls.empty() ? std::vector<std::string>{"--port", port}
                    : std::vector<std::string>{"--port", "0", "--tls-port", port};
    argv.insert(argv.end(), ports.begin(), ports.end());
    argv.insert(argv.end(), tls.begin(), tls.end());
    process_ = std::make_unique<Process>(argv);
    eventually([this] { return answers() || !process_->running(); });
    return answers();
  }
  bool answers() const {
    if (!process_) return false;
    try {
      return executed() >= 0;
    } catch (const TestFailure&) {
      return false;
    }
  }

  std::string tcp_, socket_;
  std::unique_ptr<Process> process_;
};

}  // namespace sallyport::test
