// What becomes of PROXY headers, as the metric counts it.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "gateway/connection/close_reason.h"

namespace sallyport::gateway {

/// Index into kProxyHeaderWords.
enum class ProxyHeaderCount : std::uint8_t {
  kReceived,
  kReceivedInvalid,
  kReceivedUntrusted,  ///< by a socket that is not of --accept-proxy
  kReceivedLate,       ///< not whole within the handshake timeout
  kSent,
  kNotSent,  ///< the backend did not take it: its attempt has failed
  kNotMade,  ///< it cannot be encoded: the connection ends
};

/// The labels direction and result of proxy_headers_total.
inline constexpr std::array<std::array<std::string_view, 2>, 7> kProxyHeaderWords{{
    {"receive", "success"},
    {"receive", "proxy_header_invalid"},
    {"receive", to_string(ktls::HandshakeResult::kUnexpectedMessage)},
    {"receive", to_string(ktls::HandshakeResult::kHandshakeTimeout)},
    {"send", "success"},
    {"send", "failed"},
    {"send", "internal_error"},
}};

}  // namespace sallyport::gateway
