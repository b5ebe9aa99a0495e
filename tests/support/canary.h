#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/support/tls_client.h"

namespace sallyport::test {

/// What became of one connection that was opened, sent a payload, awaited it back behind its
/// backend's name (a letter), and was closed.
struct Visit {
  std::string source;        ///< its address, no other visit's: the `client` of its line in the log
  char backend = 0;          ///< the name that it heard; 0: none
  bool whole = false;        ///< all of it came back, and both ends were clean
  std::string trouble = {};  ///< where it is not whole
};

/// Visits a backend of FallibleEndpoint's kind, or of named_echo(). Never throws.
Visit visit(const std::string& gateway, ClientOptions options, std::string_view payload);

/// 64 KiB that no check would send.
const std::string& canary_payload();

/// Visits without end, on a thread of its own, with canary_payload(): whatever happens beside it is
/// not to be felt.
class Canary {
 public:
  Canary(std::string gateway, ClientOptions options);
  ~Canary() { end(); }
  Canary(const Canary&) = delete;
  Canary& operator=(const Canary&) = delete;

  /// Any thread.
  int visits() const { return visits_; }
  /// Ends it behind the visit that goes on. What follows is for afterwards.
  void end();
  /// The whole ones by backend.
  const std::map<char, int>& by_backend() const { return by_backend_; }
  int whole() const { return visits_ - static_cast<int>(harmed_.size()); }
  const std::vector<Visit>& harmed() const { return harmed_; }
  /// What the first of the harmed saw, or empty.
  std::string first_harm() const;

 private:
  void live(const std::string& gateway, const ClientOptions& options);

  std::atomic<bool> over_ = false;
  std::atomic<int> visits_ = 0;
  std::map<char, int> by_backend_;
  std::vector<Visit> harmed_;
  std::thread thread_;
};

}  // namespace sallyport::test
