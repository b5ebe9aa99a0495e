// Negotiated parameters: what client and gateway agreed on in the handshake.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "ktls/base/intern_pool.h"

namespace sallyport::gateway {

/// The same for many connections, so that equal ones share one object of their shard.
struct Negotiated {
  std::string sni;                          ///< as in ClientHello
  std::string alpn;                         ///< as confirmed
  std::string_view version, cipher, group;  ///< static storage; as in ktls::Outcome

  bool operator==(const Negotiated&) const = default;
};

struct NegotiatedHash {
  std::size_t operator()(const Negotiated& parameters) const noexcept {
    return std::hash<std::string>{}(parameters.sni) * 31 +
           std::hash<std::string_view>{}(parameters.cipher);
  }
};
using NegotiatedPool = ktls::InternPool<Negotiated, NegotiatedHash>;

}  // namespace sallyport::gateway
