#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/e2e/peers/peer_scenario.h"

namespace sallyport::test {

/// A redis-server that stores nothing on disk, on a TCP port of its own and on a unix socket.
class RedisServer {
 public:
  explicit RedisServer(const TempDir& dir) : socket_("unix:" + (dir / "redis.sock").string()) {
    start_on_free_port("redis-server",
                       [&](const std::string& address) { return start(dir, address); });
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
  bool start(const TempDir& dir, const std::string& address) {
    tcp_ = address;
    const std::string path = socket_.substr(socket_.find(':') + 1);
    process_ = std::make_unique<Process>(std::vector<std::string>{
        "redis-server", "--bind", "127.0.0.1", "--port", tcp_.substr(tcp_.rfind(':') + 1),
        "--unixsocket", path, "--dir", dir / ".", "--save", ""});
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
