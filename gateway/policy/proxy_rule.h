// "proxy-protocol" of a route: what its backends are told of a client, before the client's bytes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/policy/json_document.h"
#include "gateway/policy/json_reader.h"

namespace sallyport::gateway {

/// What a PROXY header of version 2 can hold beside the addresses.
enum class ProxyTlv : std::uint8_t {
  kAuthority,
  kAlpn,
  kUniqueId,
  kCrc32c,
  kSsl,
  kIdentity,
  kClientCert,  ///< inside of kSsl, wherever it stands
};

std::string_view to_string(ProxyTlv tlv);  ///< the word of the policy file

struct ProxyRule {
  std::vector<ProxyTlv> tlvs;         ///< in this order, none twice
  std::uint8_t identity_type = 0xE0;  ///< of kIdentity: PP2_TYPE_MIN_CUSTOM to PP2_TYPE_MAX_CUSTOM

  [[nodiscard]] bool has(ProxyTlv tlv) const { return std::ranges::find(tlvs, tlv) != tlvs.end(); }
  bool operator==(const ProxyRule&) const = default;
};

/// `value` is "v2", all of them but the certificate, or {"tlvs": [...], "identity-type": "0xE0"}.
/// After an error `target` is as it was.
JsonReader::Outcome read_proxy_rule(const JsonReader& reader, std::optional<ProxyRule>& target,
                                    const JsonValue& value, const std::string& key);

}  // namespace sallyport::gateway
