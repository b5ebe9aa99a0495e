// Values of flags, parsed from text. Pure; an error is what is wrong with the text.
#pragma once

#include <sys/types.h>

#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/observe/admin_listener.h"
#include "gateway/policy/live_cause.h"
#include "gateway/policy/quantity.h"
#include "iouring/address.h"

namespace sallyport::gateway {

/// A numeric address and port as given: "0.0.0.0:8443", "[::1]:8443". `text` is the metric label.
struct ListenAddress {
  std::string text;
  iouring::SocketAddress address;
  bool starttls_postgresql = false;  ///< of a --listen
};

/// The admin HTTP of a gateway that runs.
struct AdminUrl {
  std::string text;        ///< as given
  std::string path;        ///< of a unix socket; empty: host and port
  std::string host, port;  ///< an IPv6 address without its brackets
  /// For the field Host.
  [[nodiscard]] std::string authority() const { return text.substr(text.find("//") + 2); }
};

/// A file of trust anchors, and the one SPIFFE trust domain that it vouches for, if scoped.
struct TrustBundle {
  std::optional<std::string> trust_domain;  ///< lower case
  std::string file;
};

/// "0600": octal, of permission bits only; nothing for any other text.
[[nodiscard]] std::optional<mode_t> parse_mode(std::string_view digits);

/// "127.0.0.1:80" or "[::1]:80"; names are refused.
[[nodiscard]] std::expected<ListenAddress, std::string> parse_listen_address(std::string_view text);

/// A value of --listen: such an address, and ",starttls=postgresql" behind it or nothing.
[[nodiscard]] std::expected<ListenAddress, std::string> parse_listener(std::string_view text);

/// A client's connection could be for either: the same text, or an address beside every address of
/// its family at the same port. [::] takes no IPv4.
[[nodiscard]] bool overlap(const ListenAddress& one, const ListenAddress& other);

/// "127.0.0.1:80", "[::1]:80" or "unix:/PATH[,mode=0600]".
[[nodiscard]] std::expected<AdminAddress, std::string> parse_admin_address(std::string_view text);

/// "http://HOST:PORT" or "unix:/PATH".
[[nodiscard]] std::expected<AdminUrl, std::string> parse_admin_url(std::string_view text);

/// "[TRUST-DOMAIN=]FILE". What stands before the first '=' is a trust domain unless it holds a '/':
/// a file whose name has a '=' is written with its directory, "./a=b.pem".
[[nodiscard]] std::expected<TrustBundle, std::string> parse_trust_bundle(std::string_view text);

/// "expired", "revoked", ...
[[nodiscard]] std::expected<LiveCause, std::string> parse_live_cause(std::string_view text);

/// "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256", only suites that our records support.
[[nodiscard]] std::expected<std::vector<std::string>, std::string> parse_ciphersuites(
    std::string_view text);

/// "h2:http/1.1": protocol ids of RFC 7301, in our order; "none" is the empty list.
[[nodiscard]] std::expected<std::vector<std::string>, std::string> parse_alpn_list(
    std::string_view text);

/// "X25519:P-256": a list of OpenSSL's, of which only the form is checked here.
[[nodiscard]] std::expected<std::string, std::string> parse_groups(std::string_view text);

}  // namespace sallyport::gateway
