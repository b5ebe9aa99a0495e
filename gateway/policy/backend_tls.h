// "backend-tls" of a route: mutual TLS towards its backends, and who these must be.
#pragma once

#include <cstddef>
#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "gateway/policy/config_error.h"
#include "gateway/policy/json_document.h"
#include "gateway/policy/json_reader.h"
#include "gateway/policy/named_files.h"
#include "gateway/policy/pattern.h"
#include "gateway/policy/route_files.h"
#include "ktls/keys/suite.h"

namespace sallyport::gateway {

/// Immutable.
struct BackendTls {
  /// What the server's verified identity must match, one of them; empty: `"verify": "endpoint"`,
  /// what the discovery file says of the endpoint (tls_id, else tls_name, else the target's host
  /// name). With patterns, tls_id and tls_name only narrow.
  std::vector<IdentityPattern> verify = {};
  /// For SNI, in lower case; empty: the endpoint's tls_name, else the target's host name, else none
  /// is sent.
  std::string sni = {};
  std::string trust = {};        ///< name of the policy's `trust`; empty: that of the flags
  std::string credentials = {};  ///< name of the policy's `credentials`; empty: that of the flags
  bool presents_certificate = true;  ///< false: `"credentials": "none"`
  /// What is offered; with `forward`: exactly what was confirmed to the client, and this is empty.
  std::vector<std::string> alpn = {};
  bool forward_alpn = false;
  ktls::RecordVersion min_version = ktls::RecordVersion::kTls13;
  bool starttls_postgresql = false;  ///< TLS begins behind PostgreSQL's SSLRequest
  std::size_t files = 0;             ///< its credentials and trust: where in Policy::files()
};

/// Reads the object `value` into `target`, and the files that it names into `files`. `key` names
/// its place.
JsonReader::Outcome read_backend_tls(const JsonReader& reader, NamedFiles& named,
                                     std::optional<BackendTls>& target, RouteFiles& files,
                                     const JsonValue& value, const std::string& key);

}  // namespace sallyport::gateway
