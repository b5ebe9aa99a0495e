// Pages of /peers/trust: whatever the bytes, a refusal that can be printed, or facts that a
// handshake could have found.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "gateway/run/peer_inventory.h"
#include "ktls/trust/x509_facts.h"

namespace {

using namespace sallyport;

void require(bool holds) {
  if (!holds) std::abort();
}

void check(const gateway::InventoryPeer& peer) {
  const ktls::PeerIdentity& identity = peer.trust.identity;
  require(identity.spiffe.empty() || ktls::normalise_spiffe_id(identity.spiffe) == identity.spiffe);
  for (const auto& name : identity.dns) require(ktls::normalise_dns_name(name) == name);
  require(!peer.trust.links.empty());
  for (const auto& link : peer.trust.links) require(!link.serial.empty());
}

void check(const gateway::KnownIssuer& known) {
  require(ktls::sha256(known.public_key) == known.issuer.key);
  require(ktls::decode_public_key(known.public_key) != nullptr);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto page = gateway::parse_inventory_page({reinterpret_cast<const char*>(data), size});
  if (!page) {
    require(!page.error().empty());
    for (const char c : page.error()) require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7F);
    return 0;
  }
  for (const auto& peer : page->part.peers) check(peer);
  for (const auto& issuer : page->part.issuers) check(issuer);
  return 0;
}
