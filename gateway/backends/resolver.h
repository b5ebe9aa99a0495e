#pragma once

#include <chrono>
#include <cstddef>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "iouring/address.h"

namespace sallyport::gateway {

/// The addresses of one host name.
struct Resolution {
  std::vector<iouring::SocketAddress> addresses;  ///< port 0; sorted, each once; the last good ones
  std::string error;  ///< why the latest attempt failed; empty if it did not
};
using Resolutions = std::map<std::string, Resolution, std::less<>>;

/// Resolves host names on threads of its own, since getaddrinfo(3) blocks, and again every
/// interval. A failure keeps the last good addresses. All members are for one control thread;
/// `on_change` is called on a resolver thread and should only wake the control thread, which then
/// asks current(). A new name is looked up before old ones are looked up again.
class Resolver {
 public:
  using Lookup = std::function<std::expected<std::vector<iouring::SocketAddress>, std::string>(
      const std::string& host)>;

  struct Options {
    std::chrono::milliseconds interval{10'000};  ///< from the end of one lookup to the next
    std::chrono::milliseconds batch{200};        ///< changes are announced at most this often
    unsigned threads = 4;  ///< so that a name whose server is silent holds up few others
    Lookup lookup;         ///< empty = getaddrinfo(3), TCP, families that this host has
  };

  Resolver(Options options, std::function<void()> on_change);
  /// Waits for no lookup: a thread inside getaddrinfo(3) is left to end by itself. on_change is not
  /// called any more once the destructor has returned.
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  /// From now on these names and no others.
  void watch(const std::set<std::string>& names);

  /// Never null. Names that were not yet looked up are absent.
  std::shared_ptr<const Resolutions> current() const;

  /// Blocks until each watched name was looked up at least once; false: the time was up before.
  bool wait_for_first(std::chrono::milliseconds timeout) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace sallyport::gateway
