#pragma once

#include <openssl/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ktls/base/openssl_handles.h"
#include "ktls/keys/suite.h"

namespace sallyport::ktls {

/// ECDSA certificates of several curves beside each other. An SSL_CTX has room for one, the first;
/// a client that cannot verify its curve gets another one that it can. Immutable once filled.
class CurveCertificates {
 public:
  struct Certificate {
    X509Ptr leaf;
    X509StackPtr chain;
    EvpPkeyPtr key;
  };
  /// What a client says it can verify: the bodies of its extensions.
  struct Client {
    std::span<const std::byte> signature_algorithms;  ///< RFC 8446 4.2.3
    std::span<const std::byte> supported_groups;      ///< RFC 8446 4.2.7, RFC 8422 5.1.1
    RecordVersion version = RecordVersion::kTls13;    ///< that is going to be chosen
  };

  /// The key is of EC. The first one is in the SSL_CTX already.
  void add(Certificate certificate);

  /// Whether there is a choice at all.
  [[nodiscard]] bool several() const noexcept { return entries_.size() > 1; }

  /// Puts the first that the client can verify into `ssl`, unless it is there. False if OpenSSL has
  /// no memory.
  [[nodiscard]] bool choose(SSL* ssl, const Client& client) const;

 private:
  struct Entry {
    std::uint16_t scheme = 0;  ///< its SignatureScheme in TLS 1.3; 0: none
    std::uint16_t group = 0;
    Certificate certificate;
  };
  std::vector<Entry> entries_;
};

}  // namespace sallyport::ktls
