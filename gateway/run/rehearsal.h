// --check --against: what a configuration would do to the connections of a gateway that runs.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "gateway/connection/snapshot.h"
#include "gateway/policy/live_cause.h"
#include "gateway/run/config.h"
#include "gateway/run/options.h"
#include "gateway/run/peer_inventory.h"

namespace sallyport::gateway {

struct Rehearsal {
  /// Connections of one word, route and identity.
  struct Group {
    std::string word;  ///< of the cause, or the result of a handshake
    std::string route;
    std::string identity;  ///< as in logs
    std::uint64_t connections = 0;
  };
  std::vector<Group> ends;  ///< by cause in the order of LiveCause, then route and identity
  std::vector<Group> kept;  ///< in the same order: would end but for --keep-live
  /// Connections that stay, and new handshakes of whose clients would be refused.
  std::vector<Group> refused_anew;
  std::uint64_t connections = 0;  ///< all

  /// Of `ends`.
  [[nodiscard]] std::uint64_t ending() const;
};

/// Judges each peer as the gateway of this inventory does when `next`, whose endpoints may be null,
/// takes over at `now`, and connections with a cause of `keep` are kept. The credentials of `next`
/// learn the gateway's issuers.
[[nodiscard]] Rehearsal rehearse(const Snapshot& next, const Inventory& running,
                                 const LiveCauses& keep, std::chrono::sys_seconds now);

/// Reads the inventory of `options.against`, prints what `config`, which is complete(), would do to
/// its connections, and returns the exit code: kExitDrained, kExitSomeEnd, or kExitConfiguration
/// where the inventory could not be read in full.
[[nodiscard]] int check_against(const Options& options, const Config& config);

}  // namespace sallyport::gateway
