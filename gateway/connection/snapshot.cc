#include "gateway/connection/snapshot.h"

namespace sallyport::gateway {

const Snapshot::CredentialsPointer& Snapshot::credentials_of(const Route* route,
                                                             const ktls::PeerTrust& peer) const {
  if (route != nullptr) return credentials_of(*route);
  const auto vouch = [&peer](const CredentialsPointer& each) {
    return each->vouches(peer.anchor_key, peer.identity) != ktls::Credentials::Vouches::kNothing;
  };
  if (vouch(credentials)) return credentials;
  for (const CredentialsPointer& each : named)
    if (vouch(each)) return each;
  return credentials;
}

std::vector<Snapshot::CredentialsPointer> Snapshot::all_credentials() const {
  std::vector<CredentialsPointer> all{credentials};
  all.insert(all.end(), named.begin(), named.end());
  return all;
}

}  // namespace sallyport::gateway
