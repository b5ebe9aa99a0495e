// What /peers/trust of a running gateway says, read for --check --against. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/connection/known_issuer.h"
#include "ktls/trust/peer_trust.h"

namespace sallyport::gateway {

/// Connections that were let in by equal facts, at one listener to one route.
struct InventoryPeer {
  ktls::PeerTrust trust;
  std::string route;
  std::string listener;
  std::uint64_t connections = 0;
};

/// The connections of a gateway, and what it knows of issuers that only their clients have sent.
struct Inventory {
  std::vector<InventoryPeer> peers;
  std::vector<KnownIssuer> issuers;  ///< each has the public key of its hash
};

/// By which a process tells itself from those before and after it: random, drawn at its start.
using InstanceId = std::array<std::uint8_t, 16>;

struct InventoryPage {
  std::string program;  ///< version of the gateway, "0.1.0"
  InstanceId instance{};
  std::uint64_t generation = 0;
  std::optional<std::uint64_t> next;  ///< for ?after= of the next page; none: this is the last one
  Inventory part;                     ///< an issuer may be in those of other pages, too
};

/// Reads one page. Strict, since a judgement by half of the facts would be a guess: a key that is
/// missing or unknown, and a value of another form, is an error. It is printable.
[[nodiscard]] std::expected<InventoryPage, std::string> parse_inventory_page(std::string_view json);

}  // namespace sallyport::gateway
