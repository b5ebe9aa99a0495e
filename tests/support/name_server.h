#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/support/net.h"

namespace sallyport::test {

/// A name server of the test's own, by UDP and TCP on one port. What it says of a name is the
/// test's; of others it says that there are none. Any thread may change it while it runs.
class NameServer {
 public:
  static constexpr std::uint16_t kA = 1, kCname = 5, kAaaa = 28;
  static constexpr int kFormErr = 1, kServFail = 2, kNxDomain = 3, kRefused = 5;

  struct Record {
    std::string name;
    std::uint32_t ttl = 0;
    std::string data;  ///< an address, or the name that it is another one for
  };

  struct Query {
    std::string wire;
    std::string name;  ///< in lower case, without the last dot
    std::uint16_t type = 0;
    bool tcp = false;

    /// To this question. Records of addresses of the other type are left out.
    std::string reply(const std::vector<Record>& records, int rcode = 0) const;
    /// The same, with the bit that says that there is more.
    std::string truncated(const std::vector<Record>& records) const;
  };

  /// All messages that a query is answered by; none: silence.
  using Answer = std::function<std::vector<std::string>(const Query&)>;

  /// "ADDRESS:PORT"; port 0: one that is free.
  explicit NameServer(const std::string& address = "127.0.0.1:0");
  ~NameServer();
  NameServer(const NameServer&) = delete;
  NameServer& operator=(const NameServer&) = delete;

  std::uint16_t port() const { return port_; }

  /// From now on the name has these records; none: it exists, and has no address.
  void set(const std::string& name, const std::vector<std::string>& data, std::uint32_t ttl = 1);
  /// From now on this answers instead, or nothing does again.
  void answer_by(Answer answer);
  /// What the records say, for an answer that is to be like it.
  std::string answer_from_records(const Query& query) const;

  /// How often it was asked for the name, for all types together.
  int asked(const std::string& name) const;
  int asked_by_tcp() const { return by_tcp_; }

 private:
  struct Connection {
    Fd socket;
    std::string received;
  };

  void bind(const std::string& address);
  void serve();
  void serve_udp();
  void serve(Connection& connection);
  std::vector<std::string> answer(Query query);

  Fd udp_;
  Fd tcp_;
  std::uint16_t port_ = 0;
  Fd stop_;  // eventfd(2)
  mutable std::mutex mutex_;
  std::map<std::string, std::vector<Record>, std::less<>> records_;
  std::map<std::string, int, std::less<>> asked_;
  Answer answer_;
  std::atomic<int> by_tcp_ = 0;
  std::thread thread_;
};

}  // namespace sallyport::test
