#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gateway/backends/lookup_times.h"
#include "iouring/address.h"

namespace sallyport::gateway {

/// The addresses of one host name.
struct Resolution {
  std::vector<iouring::SocketAddress> addresses;  ///< port 0; sorted, each once; the last good ones
  std::string error;  ///< why the latest attempt failed; empty if it did not
};
using Resolutions = std::map<std::string, Resolution, std::less<>>;

/// What one lookup of a host name has found.
struct FoundHost {
  std::vector<iouring::SocketAddress> addresses;  ///< port 0, at least one, in any order
  std::chrono::seconds ttl{0};  ///< the shortest of all records; 0, too, where /etc/hosts has it
};

/// The names that are watched: what is known of each, and when it is to be looked up next. Looks
/// nothing up itself. No clock, no lock; one thread at a time.
///
/// A failure, that a name is unknown included, keeps the last good addresses. An answer that has no
/// address of a family which had some may come of two queries of which one failed: the addresses of
/// that family stay until the next answer, which is asked for soon, says the same.
class NameTable {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  /// Names whose last lookup failed have a line of their own, so that the others can pass them.
  enum class Line : std::uint8_t { kDue, kRetry };

  NameTable(const LookupTimes& times, std::uint64_t seed) : times_(times), random_(seed) {}

  /// From now on these names and no others. New ones are due before all others.
  void watch(const std::set<std::string>& names);

  /// When the first of the line is due; TimePoint::max(): it is empty.
  [[nodiscard]] TimePoint next(Line line) const;
  /// Takes the first one, if it is due, out of its line, into which store() or put_back() puts it
  /// again. Empty: none is due.
  [[nodiscard]] std::string take(Line line, TimePoint now);
  [[nodiscard]] bool failing(const std::string& host) const;

  /// The outcome of a lookup; the error is one sentence. One that is not watched any more is passed
  /// over.
  void store(const std::string& host, std::expected<FoundHost, std::string> outcome, TimePoint now);
  /// Its lookup was given up: it is due at once.
  void put_back(const std::string& host, TimePoint now);
  /// All that fail are due at once.
  void retry_now(TimePoint now);

  /// Never null. Names that were not yet looked up are absent.
  [[nodiscard]] std::shared_ptr<const Resolutions> current();
  [[nodiscard]] bool all_looked_up() const { return new_ == 0; }
  /// Whether store() has changed anything since take_change().
  [[nodiscard]] bool changed() const { return changed_; }
  void take_change() { changed_ = false; }

 private:
  struct Name {
    TimePoint due{};        // the clock's origin: before all that were looked up already
    unsigned failures = 0;  // in a row
    bool doubted = false;   // the last answer was not believed
    bool looked_up = false;
  };
  using Queue = std::set<std::pair<TimePoint, std::string>>;

  [[nodiscard]] static Line line_of(const Name& name) {
    return name.failures > 0 ? Line::kRetry : Line::kDue;
  }
  [[nodiscard]] Queue& queue(Line line) { return line == Line::kDue ? due_ : retries_; }
  [[nodiscard]] const Queue& queue(Line line) const { return line == Line::kDue ? due_ : retries_; }
  [[nodiscard]] std::chrono::milliseconds pause(
      const Name& name, const std::expected<FoundHost, std::string>& outcome);
  void move(const std::string& host, Name& name, TimePoint due);

  LookupTimes times_;
  std::minstd_rand random_;
  std::map<std::string, Name> names_;
  Queue due_;
  Queue retries_;
  Resolutions latest_;
  std::shared_ptr<const Resolutions>
      published_;        // copy of latest_; null: to be made when asked for
  std::size_t new_ = 0;  // names that were not yet looked up
  bool changed_ = false;
};

}  // namespace sallyport::gateway
