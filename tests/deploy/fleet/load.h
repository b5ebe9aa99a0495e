// Clients that come and go all the time.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/tls_client.h"

namespace sallyport::test {

/// SALLYPORT_FLEET_SEED, else 1.
std::uint64_t seed_of_fleet();
/// How often a story is told: SALLYPORT_FLEET_ROUNDS, else once.
int rounds_of_fleet();

/// What became of one connection.
struct Outcome {
  std::string client = {};  ///< its address and port, of no other connection of the load
  std::chrono::steady_clock::time_point began;
  bool offered = false;  ///< a session to resume
  bool resumed = false;
  std::string failure = {};  ///< empty: it echoed 64 KiB and ended in order
};

/// Threads of which each opens a connection, echoes 64 KiB, ends it in order, and begins again
/// after some milliseconds; about half of them resume the session of the one before. Each thread
/// has an address of its own. What is random in it is drawn from the seed.
class Load {
 public:
  static constexpr std::size_t kThreads = 4;

  /// `options` are of all clients, but for source and session.
  Load(std::string address, const ClientOptions& options);
  ~Load() { stop(); }
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  /// Until each thread has ended so many more. Throws TestFailure when it never does.
  void wait_more(int connections_each) const;
  /// Ends it; all connections, in the order of their ends.
  const std::vector<Outcome>& stop();

 private:
  void run(std::size_t thread);
  Outcome connect_once(std::size_t thread, int number, std::shared_ptr<SSL_SESSION>& session,
                       bool resuming) const;

  const std::string address_;
  const ClientOptions options_;
  const std::string data_;
  std::atomic<bool> ending_ = false;
  std::atomic<int> ended_[kThreads] = {};
  std::mutex mutex_;
  std::vector<Outcome> outcomes_;
  std::vector<std::thread> threads_;
};

/// Those that failed, to be shown.
std::string failures(const std::vector<Outcome>& outcomes);

}  // namespace sallyport::test
