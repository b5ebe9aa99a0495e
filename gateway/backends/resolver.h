#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "gateway/backends/dns_channel.h"
#include "gateway/backends/lookup_times.h"
#include "gateway/backends/name_table.h"
#include "iouring/result.h"

namespace sallyport::gateway {

/// Resolves host names on a thread of its own, and again when the TTL of an answer ends
/// (LookupTimes); what comes of that is in NameTable. A resolv.conf(5) that has changed is read
/// again, and what failed is looked up at once.
///
/// All members are for one control thread; `on_change` is called on the resolver's and should only
/// wake the control thread, which then asks current().
class Resolver {
 public:
  struct Options {
    DnsChannel::Options dns;
    LookupTimes times;
    std::chrono::milliseconds batch{200};  ///< changes are announced at most this often
    /// That resolv.conf and the interfaces are looked at, where there is reason to.
    std::chrono::milliseconds look_every{1'000};
    /// AF_INET, AF_INET6, or AF_UNSPEC for both; none: of those that this host has an address of
    /// beside the loopback's (AI_ADDRCONFIG of getaddrinfo(3)).
    std::optional<int> family;
  };

  /// The error: this process has no descriptor left.
  [[nodiscard]] static iouring::Result<std::unique_ptr<Resolver>> start(
      Options options, std::function<void()> on_change);
  /// Gives up what is under way. on_change is not called any more once it has returned.
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  /// From now on these names and no others. New ones come before those that are due again.
  void watch(const std::set<std::string>& names);

  /// Never null. Names that were not yet looked up are absent.
  std::shared_ptr<const Resolutions> current() const;

  /// Blocks until each watched name was looked up at least once; false: the time was up before.
  bool wait_for_first(std::chrono::milliseconds timeout) const;

 private:
  class Thread;
  explicit Resolver(std::unique_ptr<Thread> thread);

  std::unique_ptr<Thread> thread_;
};

}  // namespace sallyport::gateway
