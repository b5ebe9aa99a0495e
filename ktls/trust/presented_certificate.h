#pragma once

#include <openssl/types.h>

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "ktls/trust/peer_trust.h"

namespace sallyport::ktls {

/// The certificate that a refused peer presented as its own, for logs. Texts of the peer, cut to
/// kMaxBytes each, with any bytes in them.
struct PresentedCertificate {
  static constexpr std::size_t kMaxBytes = 256;
  static constexpr std::size_t kMaxNames = 8;

  std::string spiffe;            ///< the first URI SAN that claims to be a SPIFFE ID; empty: none
  std::vector<std::string> dns;  ///< "dns:NAME", the first kMaxNames
  std::string subject;           ///< RFC 2253
  std::string serial;            ///< hexadecimal, upper case
  std::string issuer;            ///< RFC 2253
  std::chrono::sys_seconds not_after{};
  /// The chain was verified, and the peer has proven that it has the key. Else all of this is a
  /// claim, which anyone can make who has seen the certificate or can write one.
  bool verified = false;
};

/// A certificate of which nothing was verified.
PresentedCertificate presented(const X509* leaf);
/// The certificate of an authenticated peer, as far as its anchor vouches for it.
PresentedCertificate presented(const PeerTrust& trust);

/// At most PresentedCertificate::kMaxBytes of `text`, without a part of a UTF-8 character at the
/// end.
std::string cut(std::string_view text);

}  // namespace sallyport::ktls
