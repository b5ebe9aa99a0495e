// /peers and /peers/trust: what the shards know of peers, as JSON.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gateway/connection/known_issuer.h"
#include "gateway/connection/peer_slice.h"

namespace sallyport::gateway {

/// What answers are about.
struct InForce {
  std::string program{};         ///< version of this one
  std::string instance{};        ///< of the process, drawn at its start
  std::uint64_t generation = 0;  ///< of the configuration
  std::size_t shards = 1;
  /// Of a peer's chain. Empty: none are known.
  std::function<std::vector<KnownIssuer>(const PeerFacts&)> known_issuers = {};
};

/// A page that is added to as the shards answer.
class PeersPage {
 public:
  virtual ~PeersPage() = default;
  PeersPage(const PeersPage&) = delete;
  PeersPage& operator=(const PeersPage&) = delete;

  [[nodiscard]] virtual WhichPeers which() const = 0;
  virtual void add(const PeerFacts& peer) = 0;
  /// The whole text. Once. `next` is where the shards would go on.
  [[nodiscard]] virtual std::string finish(const std::optional<PeerCursor>& next) = 0;

 protected:
  PeersPage() = default;
};

/// /peers: those of all shards, equal ones together, of the soonest expiry first; no more than
/// kMostListed.
inline constexpr std::size_t kMostListed = 10'000;
[[nodiscard]] std::unique_ptr<PeersPage> peer_list();

/// /peers/trust: all facts by which those that are connected are judged, exactly, for a program.
[[nodiscard]] std::unique_ptr<PeersPage> trust_page(const InForce& now);

/// A cursor as one number, which JSON's readers hold exactly, below 2^53. Grows along the list, by
/// which its reader sees that it comes to an end.
[[nodiscard]] std::uint64_t to_number(const PeerCursor& cursor);
/// Nothing for a number that is no cursor where there are so many shards. 0 is the beginning.
[[nodiscard]] std::optional<PeerCursor> cursor_of(std::uint64_t number, std::size_t shards);

}  // namespace sallyport::gateway
