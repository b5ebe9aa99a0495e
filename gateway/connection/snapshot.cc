#include "gateway/connection/snapshot.h"

namespace sallyport::gateway {

const Snapshot::CredentialsPointer& Snapshot::credentials_of(const Route* route,
                                                             const ktls::PeerTrust& peer) const {
  return credentials_at(files_of(route, peer));
}

std::size_t Snapshot::files_of(const Route* route, const ktls::PeerTrust& peer) const {
  if (route != nullptr) return route->files;
  for (std::size_t files = 0; files <= named.size(); ++files) {
    const auto vouches = credentials_at(files)->vouches(peer.anchor_key, peer.identity);
    if (vouches != ktls::Credentials::Vouches::kNothing) return files;
  }
  return 0;
}

std::vector<Snapshot::CredentialsPointer> Snapshot::all_credentials() const {
  std::vector<CredentialsPointer> all{credentials};
  all.insert(all.end(), named.begin(), named.end());
  return all;
}

std::optional<std::string> Snapshot::trust_name(std::size_t files) const {
  const std::optional<NamedTrust>& trust = policy->files()[files].trust;
  return trust ? std::optional(trust->name) : std::nullopt;
}

std::vector<KnownIssuer> Snapshot::known_issuers(std::string_view route,
                                                 const ktls::PeerTrust& peer) const {
  const std::size_t files = files_of(policy->find(route), peer);
  std::vector<KnownIssuer> known;
  for (const ktls::PeerTrust::Link& link : peer.links) {
    if (!link.crl_key) continue;
    auto public_key = credentials_at(files)->issuer_key(*link.crl_key);
    if (!public_key) continue;
    known.push_back({.trust = trust_name(files),
                     .issuer = {.name = link.issuer, .key = *link.crl_key},
                     .public_key = *std::move(public_key)});
  }
  return known;
}

void Snapshot::learn_issuer(const KnownIssuer& known) const {
  for (std::size_t files = 0; files <= named.size(); ++files)
    if (trust_name(files) == known.trust)
      credentials_at(files)->learn_issuer(known.issuer, known.public_key);
}

}  // namespace sallyport::gateway
