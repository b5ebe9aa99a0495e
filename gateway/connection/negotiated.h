// What client and gateway agreed on in the handshake.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "ktls/base/intern_pool.h"

namespace sallyport::gateway {

/// The same for many connections, so that equal ones share one object of their shard.
struct Terms {
  std::string sni;                          ///< as in ClientHello
  std::string alpn;                         ///< as confirmed
  std::string_view version, cipher, group;  ///< static storage; as in ktls::Outcome

  bool operator==(const Terms&) const = default;
};

struct TermsHash {
  std::size_t operator()(const Terms& terms) const noexcept {
    return std::hash<std::string>{}(terms.sni) * 31 + std::hash<std::string_view>{}(terms.cipher);
  }
};
using TermsPool = ktls::InternPool<Terms, TermsHash>;

}  // namespace sallyport::gateway
