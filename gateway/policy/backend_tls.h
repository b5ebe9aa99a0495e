#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gateway/policy/pattern.h"
#include "ktls/keys/suite.h"

namespace sallyport::gateway {

/// Mutual TLS towards the backends of a route: the policy file's `backend-tls`. Immutable.
struct BackendTls {
  /// What the server's verified identity must match, one of them; empty: `"verify": "endpoint"`,
  /// what the discovery file says of the endpoint (tls_id, else tls_name, else the target's host
  /// name). With patterns, tls_id and tls_name only narrow.
  std::vector<IdentityPattern> verify = {};
  /// For SNI; empty: the endpoint's tls_name, else the target's host name, else none is sent.
  std::string sni = {};
  std::string trust = {};        ///< name of the policy's `trust`; empty: that of the flags
  std::string credentials = {};  ///< name of the policy's `credentials`; empty: that of the flags
  bool presents_certificate = true;  ///< false: `"credentials": "none"`
  /// What is offered; with `forward`: exactly what was confirmed to the client, and this is empty.
  std::vector<std::string> alpn = {};
  bool forward_alpn = false;
  ktls::RecordVersion min_version = ktls::RecordVersion::kTls13;
  bool starttls_postgresql = false;
};

}  // namespace sallyport::gateway
