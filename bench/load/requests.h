// Request and response over held connections, closed or open loop.
#pragma once

#include <chrono>
#include <deque>

#include "bench/load/run.h"

namespace sallyport::bench {

/// Latencies are free of coordinated omission: with a rate, a request's clock starts at its
/// intended moment, whether or not earlier answers are still owed (requests are then sent behind
/// one another on the same connection).
class Requests {
 public:
  explicit Requests(Run& run);
  ~Requests();

  /// Opens all connections.
  void open();

  /// Runs for so long; a closed loop has one request on each connection.
  void work(std::chrono::duration<double> time);

  void forget();  // counts and latencies so far
  uint64_t answered() const;
  const Histogram& latencies() const;

  /// Ends all connections in order.
  void close();

 private:
  class Slot;
  struct Counts;
  Run& run_;
  std::unique_ptr<Counts> counts_;
  std::deque<Slot> slots_;
  std::unique_ptr<Pace> pace_;
  size_t next_slot_ = 0;
};

}  // namespace sallyport::bench
