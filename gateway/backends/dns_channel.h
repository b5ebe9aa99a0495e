#pragma once

#include <poll.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "gateway/backends/name_table.h"

namespace sallyport::gateway {

/// Looks host names up by c-ares: in /etc/hosts, else at the name servers of resolv.conf(5) as it
/// was when the channel was opened, with its search domains. Waits for nothing: the caller polls.
/// One thread.
class DnsChannel {
 public:
  struct Options {
    std::string resolv_conf = "/etc/resolv.conf";
    std::uint16_t port = 53;  ///< of the name servers
    /// That a server has for an answer before the next one is asked; doubled each time that all of
    /// them were silent.
    std::chrono::milliseconds timeout{2'000};
    int tries = 3;  ///< of each server
  };

  struct Finished {
    std::string host;
    std::expected<FoundHost, std::string> outcome;  ///< the error is one sentence
  };

  /// The error is one sentence: memory is used up.
  [[nodiscard]] static std::expected<DnsChannel, std::string> open(const Options& options);
  DnsChannel(DnsChannel&& other) noexcept;
  DnsChannel& operator=(DnsChannel&& other) noexcept;
  /// Gives up what is under way.
  ~DnsChannel();

  /// `family`: AF_INET, AF_INET6, or AF_UNSPEC for both. It may have finished at once.
  void begin(const std::string& host, int family);

  /// Appends what is to be given to poll(2).
  void add_sockets(std::vector<pollfd>& polled) const;
  /// How long poll(2) may wait, at most `most`.
  [[nodiscard]] std::chrono::milliseconds timeout(std::chrono::milliseconds most) const;
  /// Takes in what has come, of its own sockets among `polled`. Where a server was silent for too
  /// long the next one is asked, or the lookup has failed.
  void process(std::span<const pollfd> polled);

  [[nodiscard]] std::vector<Finished> take_finished();
  /// Names that were begun and have not finished.
  [[nodiscard]] std::vector<std::string> under_way() const;
  [[nodiscard]] std::size_t count_under_way() const;

 private:
  class Channel;
  explicit DnsChannel(std::unique_ptr<Channel> channel);

  std::unique_ptr<Channel> channel_;
};

}  // namespace sallyport::gateway
