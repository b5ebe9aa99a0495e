// An issuer of clients that is in no bundle, as chains of clients have shown it.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "ktls/trust/issuer_keys.h"

namespace sallyport::gateway {

/// A value, by which one gateway tells another what it has seen.
struct KnownIssuer {
  std::optional<std::string> trust;  ///< that has seen it, of the policy file; none: the flags'
  ktls::IssuerKeys::Issuer issuer{};
  std::vector<std::byte> public_key{};  ///< SubjectPublicKeyInfo, whose hash is issuer.key
};

}  // namespace sallyport::gateway
