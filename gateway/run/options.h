// The command line and the configuration file as plain values.
//
// The command line beats `--config FILE`, flag by flag. Three things are decided as a whole: a list
// given on the command line replaces the file's list, --cert, --key and --credentials go together,
// and any of
// --allow, --allow-any-verified and --policy replaces the file's choice among them.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "gateway/connection/record_choice.h"
#include "gateway/observe/log.h"
#include "gateway/observe/logged_connections.h"
#include "gateway/policy/live_cause.h"
#include "gateway/policy/policy.h"
#include "gateway/run/egress_address.h"
#include "gateway/run/option_values.h"
#include "iouring/ip_network.h"
#include "ktls/keys/suite.h"
#include "ktls/trust/verify_settings.h"

namespace sallyport::gateway {

struct Options {
  struct CertificatePair {
    std::string cert, key;  ///< paths
  };
  enum class CrlExpired { kRefuse, kAccept };

  std::vector<ListenAddress> listen;  ///< no two overlap; at least one of these or `egress`
  std::vector<EgressAddress> egress;  ///< for local applications; no two overlap
  bool egress_expose = false;         ///< some of them are not of loopback
  bool share_port = false;            ///< listen beside another process that has the address
  std::vector<iouring::IpNetwork> accept_proxy;  ///< what connects from there is a proxy
  std::vector<CertificatePair> pairs;            ///< at least one, but for egress alone
  std::vector<TrustBundle> ca;                   ///< at least one
  std::vector<std::string> crl;
  CrlExpired crl_expired = CrlExpired::kRefuse;
  ktls::ClientEku client_eku = ktls::ClientEku::kIfPresent;
  bool partial_chain = false;  ///< every certificate of --ca anchors, not only self-signed ones

  /// Exactly one of the three is set.
  std::vector<std::string> allow;  ///< patterns, not parsed yet
  bool allow_any_verified = false;
  std::string policy;
  /// Of every route, without `policy` only. See FlagRules.
  std::optional<std::vector<std::string>> alpn;
  Truncation truncation = Truncation::kReset;

  std::string discovery;
  bool discovery_allow_empty = false;
  unsigned discovery_max_removal_percent = 100;
  std::string zone;       ///< ours, for routes that prefer it; empty: none
  std::string state_dir;  ///< path; empty: nothing is kept for a later start

  std::vector<AdminAddress> admin;  ///< at least one, no two alike; 127.0.0.1:9464
  bool admin_expose_all = false;

  std::optional<unsigned> shards;    ///< unset: the usable CPUs, or the CPU quota
  unsigned busy_poll_us = 0;         ///< before a shard sleeps; 0 = never
  unsigned wake_coalescing_us = 50;  ///< how long an event may wait for others; 0 = never
  RecordsWanted records = RecordsWanted::kAuto;
  ktls::RecordVersion min_tls = ktls::RecordVersion::kTls13;
  std::vector<std::string> ciphersuites;  ///< TLS 1.3 names; empty: OpenSSL's order
  std::string groups;                     ///< OpenSSL's list; empty: the default
  unsigned tickets = 1;                   ///< per full handshake; 0 = no resumption
  std::string ticket_keys;                ///< path; empty: a secret of this process
  std::chrono::milliseconds ticket_max_age{
      std::chrono::hours(8)};  ///< whole seconds, at most 7 days
  bool openssl_tuning = true;  ///< off: nothing beyond OpenSSL's public API

  /// Zero means off.
  std::chrono::milliseconds handshake_timeout{10'000};
  std::chrono::milliseconds connect_timeout{3'000};
  std::chrono::milliseconds half_close_timeout{60'000};
  std::chrono::milliseconds drain_timeout{30'000};
  std::chrono::milliseconds idle_timeout{0};
  std::chrono::milliseconds max_lifetime{0};
  std::chrono::milliseconds drain_delay{0};
  std::chrono::milliseconds end_spread{5'000};
  std::chrono::milliseconds expiry_spread{std::chrono::minutes(10)};

  LiveCauses keep_live;  ///< causes for which a live connection does not end

  std::optional<std::uint64_t> max_connections;   ///< process-wide; unset: what descriptors carry
  unsigned max_handshakes = 512;                  ///< with work to do, per shard
  std::uint32_t max_connections_per_address = 0;  ///< 0: no limit
  std::uint32_t max_handshakes_per_address = 0;   ///< a second; 0: no limit
  std::uint64_t handshake_memory = std::uint64_t{64} << 20;  ///< bytes, per shard

  std::string user;
  bool confine = true;  ///< to the files that it was told of at start
  LogFormat log_format = LogFormat::kJson;
  LogLevel log_level = LogLevel::kInfo;
  LoggedConnections logged_connections;
  bool check = false;
  std::optional<AdminUrl> against;  ///< with `check` only
  /// --explain: a client to be judged.
  struct Client {
    std::string certificates;       ///< path: PEM, its own first
    std::string sni;                ///< empty: it asks for no server
    std::vector<std::string> alpn;  ///< that it offers
  };
  std::optional<Client> explain;  ///< not with `check`
  std::string config;             ///< the file that was read, or empty
};

/// What is wrong with the command line or the configuration file. Exit code 2.
struct OptionsError {
  std::string where;  ///< "command line" or "FILE:LINE"
  std::string flag;   ///< "--listen", or empty
  std::string value;  ///< as given, or empty
  std::string what;

  /// All of the above in one line.
  [[nodiscard]] std::string message() const;
};

/// Text to print on stdout before exiting with 0: --help or --version.
struct Information {
  std::string text;
};

/// --reload: the gateway of this process is to read its files again.
struct ReloadRequest {
  pid_t gateway = 0;
};

/// What the program is to do.
using CommandLine = std::variant<Options, Information, ReloadRequest>;

/// Flags with errors.
struct RefusedOptions {
  std::vector<OptionsError> errors;  ///< at least one
  Options understood;                ///< the flags without errors; not what a gateway may run with
};

/// Reads the command line and, if it names one, the configuration file; opens no other file.
/// --help and --version win over any error in other flags.
[[nodiscard]] std::expected<CommandLine, RefusedOptions> parse(int argc, const char* const* argv);

}  // namespace sallyport::gateway
