#pragma once

#include <openssl/types.h>

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ktls/trust/peer_trust.h"

namespace sallyport::ktls {

/// The names of CAs that a CertificateRequest may have (RFC 8446 4.2.4), so that a client with
/// several certificates can choose. Many clients send none if its issuer is not among them; without
/// any name they send what they have. So it is all names that matter for a client, or none.
class CaNames {
 public:
  /// The most bytes of names for one client: a large bundle would bloat every handshake.
  static constexpr std::size_t kMost = std::size_t{8} << 10;

  /// The clients that may pass: those with a SPIFFE ID of these trust domains, and those that an
  /// unscoped bundle vouches for. Null: any.
  using Clients = const std::vector<std::string>*;

  /// Adds a name of a bundle with this trust domain; none: unscoped. `name` must outlive this.
  void add(const X509_NAME* name, const std::optional<std::string>& domain);

  /// The encoded size of the names for these clients, each counted once.
  std::size_t size(Clients clients) const;
  /// These names, if they are not longer than kMost; else none.
  std::vector<const X509_NAME*> fitting(Clients clients) const;

 private:
  struct Entry {
    const X509_NAME* name = nullptr;
    std::size_t size = 0;
    bool unscoped = false;
    std::vector<std::string> domains;
  };
  static bool matters(const Entry& entry, Clients clients);

  std::map<NameHash, std::size_t> known_;  // where in entries_
  std::vector<Entry> entries_;             // in the order of the files
};

}  // namespace sallyport::ktls
