// Three gateways behind a real HAProxy, by the files of deploy/fleet: what a user copies is what
// runs here, but for addresses, paths and sizes. All of it lives in a network namespace of the
// test's own.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/deploy/fleet/load.h"
#include "tests/e2e/scenario.h"
#include "tests/support/network_namespace.h"
#include "tests/support/random.h"

namespace sallyport::test {

/// HAProxy with the configuration of deploy/fleet.
class Balancer {
 public:
  explicit Balancer(const TempDir& dir);

  /// What it holds a gateway for: "UP", "NOLB" (no new connections), "DOWN".
  void wait_state(const std::string& server, const std::string& wanted) const;
  /// Its first check has passed. Until then one that fails is enough for "DOWN".
  void wait_checked(const std::string& server) const;

  /// A connection, as its log has it once it has ended.
  struct Line {
    std::string server;
    bool redispatched = false;  ///< the first gateway that was tried did not take it
  };
  /// By the client's address and port. Waits until it has so many.
  std::map<std::string, Line> lines(std::size_t count) const;

 private:
  /// A command of its runtime API, and the answer.
  std::string ask(const std::string& command) const;
  std::string field(const std::string& server, std::size_t index) const;

  std::string socket_;
  std::unique_ptr<Process> process_;
};

class Fleet : public Scenario {
 protected:
  static constexpr std::size_t kMembers = 3;
  /// Where clients connect.
  static constexpr char kFront[] = "127.0.0.10:8443";
  /// HAProxy's own address towards the gateways.
  static constexpr char kBalancer[] = "127.0.0.2:";
  /// Source of connections that do not come by the balancer.
  static constexpr char kElsewhere[] = "127.0.0.99:0";

  /// A machine of the fleet: its folder is what /etc/sallyport is there.
  struct Member {
    std::string name;     ///< as HAProxy's configuration has it
    std::string address;  ///< that of its listener
    std::unique_ptr<Gateway> gateway;
    std::vector<std::unique_ptr<Gateway>> past;  ///< those that ended
  };

  void SetUp() override;
  /// Judges the end of each gateway.
  void TearDown() override;

  /// Every member, then the balancer. `flags` are given to each gateway beside those of the files.
  void start_fleet(const std::vector<std::string>& flags = {});
  void start_member(Member& member);
  /// The process that runs becomes one of its past; it has ended or is about to.
  static Gateway& retire(Member& member);
  /// By SIGKILL, and until its listener is gone as well.
  void kill(Member& member);
  /// Whether the outcome may be that of a connection which a killed process had.
  bool was_before_a_death(const Outcome& outcome, const std::string& server) const;

  /// deploy/fleet/ticket-keys, on a copy that no gateway reads.
  void ticket_keys(const std::string& step);
  /// Takes that copy to a member, and waits until it is in force there.
  void take_ticket_keys(Member& member);

  ClientOptions through_balancer(const std::string& source) const;
  /// Open connections through the balancer, each of which has echoed.
  std::vector<TlsClient> hold(std::size_t count, const std::string& source) const;
  /// Whose gateway has this connection open.
  Member& member_of(const TlsClient& open);

  /// What clients, balancer and gateways say of the same connections is the same: each that was
  /// served is in the log of one gateway, once, by the client's own address, and the counters of
  /// the gateways that run are those of their logs. `others`: connections that were not of the load
  /// and have ended. Returns the balancer's lines.
  std::map<std::string, Balancer::Line> expect_agreement(const std::vector<Outcome>& outcomes,
                                                         std::size_t others);

  Member& any_member() { return random.any(members); }

  const NetworkNamespace net;
  Random random{seed_of_fleet()};
  std::unique_ptr<Backend> backend;
  std::vector<Member> members;
  std::unique_ptr<Balancer> balancer;

 private:
  std::vector<std::string> flags_;
  /// Who was killed, and since when nothing was there any more.
  std::vector<std::pair<std::string, std::chrono::steady_clock::time_point>> deaths_;
};

}  // namespace sallyport::test
