#include "gateway/run/check_summary.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>

#include "gateway/observe/timestamp.h"
#include "gateway/run/probe_records.h"
#include "gateway/run/process.h"
#include "gateway/run/shard_count.h"

namespace sallyport::gateway {
namespace {

using ktls::CertificateFact;

std::string counted(std::size_t count, std::string_view what) {
  return std::to_string(count) + " " + std::string(what) + (count == 1 ? "" : "s");
}

std::string listeners(const Options& options) {
  std::string text;
  for (const ListenAddress& each : options.listen)
    text += "listener " + each.text + ": mutual TLS\n";
  for (const EgressAddress& each : options.egress)
    text += "listener " + each.text + ": plaintext, for applications of this machine\n";
  return text;
}

std::string clients_of(const Route& route) {
  if (route.egress) return "applications of this machine";
  return route.allow_any_verified ? "any verified client"
                                  : counted(route.allow.size(), "identity pattern");
}

std::string routes(const Config& config) {
  std::string text;
  for (const Route& route : config.policy()->routes()) {
    const DiscoveredRoute* discovered = config.discovery().find(route.name);
    text += "route " + printable(route.name) + ": " +
            counted(discovered ? discovered->targets.size() : 0, "target") + ", " +
            clients_of(route);
    if (!route.egress) {
      text +=
          ", " + (route.sni.empty() ? "any server name" : counted(route.sni.size(), "server name"));
      text += ", " + (!route.alpn.empty()    ? counted(route.alpn.size(), "protocol")
                      : route.takes_no_offer ? "no protocol"
                                             : "any protocol");
    }
    text += route.backend_tls ? ", TLS to its backends\n" : "\n";
  }
  return text;
}

// The lines of all credentials, each once: files may be those of several routes.
std::string lines_of_all(const Config& config, std::string (*lines)(const ktls::Credentials&)) {
  std::string text;
  std::set<std::string> known;
  for (const auto& credentials : config.all_credentials()) {
    std::istringstream all(lines(*credentials));
    for (std::string line; std::getline(all, line);)
      if (known.insert(line).second) text += line + "\n";
  }
  return text;
}

std::string own_certificates(const ktls::Credentials& credentials) {
  std::map<std::string, std::size_t> behind;
  for (const CertificateFact& fact : credentials.certificates()) {
    if (fact.role == CertificateFact::Role::kServer && !fact.leaf) ++behind[fact.name];
  }
  std::string text;
  for (const CertificateFact& fact : credentials.certificates()) {
    if (!fact.leaf) continue;
    text += "certificate " + fact.name + ": " + fact.subject + ", " + fact.key + ", " +
            counted(behind[fact.name], "intermediate") + ", expires at " + rfc3339(fact.not_after) +
            "\n";
  }
  return text;
}

std::string bundles(const ktls::Credentials& credentials) {
  struct Bundle {
    std::size_t anchors = 0, leaves = 0, others = 0;
    std::chrono::sys_seconds first_expiry = std::chrono::sys_seconds::max();
    std::string domain;
  };
  std::map<std::string, Bundle> bundles;
  for (const CertificateFact& fact : credentials.certificates()) {
    if (fact.role != CertificateFact::Role::kCa) continue;
    Bundle& bundle = bundles[fact.name];
    ++(!fact.anchor ? bundle.others : fact.authority ? bundle.anchors : bundle.leaves);
    bundle.first_expiry = std::min(bundle.first_expiry, fact.not_after);
    if (fact.trust_domain) bundle.domain = " for " + *fact.trust_domain;
  }
  std::string text;
  for (const auto& [name, bundle] : bundles) {
    text += "ca " + name + bundle.domain + ": " + counted(bundle.anchors, "anchor") + ", " +
            counted(bundle.others, "intermediate") +
            (bundle.leaves == 0
                 ? ""
                 : ", " + counted(bundle.leaves, "pinned leaf certificate") + " (no CA)") +
            ", the first expires at " + rfc3339(bundle.first_expiry) + "\n";
  }
  return text;
}

std::string lists(const ktls::Credentials& credentials) {
  std::string text;
  for (const ktls::CrlFact& crl : credentials.crls()) {
    text += "crl " + crl.name + ": of " + crl.issuer + ", " + std::to_string(crl.revoked) +
            " revoked, ";
    text += crl.next_update ? "next update at " + rfc3339(*crl.next_update) : "no next update";
    text += "\n";
  }
  return text;
}

// Flags that name no file: the files stand above with what is in them.
std::string flags(const Options& options) {
  const auto on = [](bool value) { return std::string(value ? "on" : "off"); };
  const auto ms = [](std::chrono::milliseconds value) {
    return value.count() == 0 ? std::string("off") : std::to_string(value.count()) + "ms";
  };
  const auto number = [](auto value, std::string_view unset) {
    return value ? std::to_string(*value) : std::string(unset);
  };
  const auto text = [](const std::string& value, std::string_view unset) {
    return value.empty() ? std::string(unset) : value;
  };
  std::string all = "flags:";
  const auto add = [&](std::string_view name, const std::string& value) {
    all += " " + std::string(name) + "=" + value;
  };
  for (const ListenAddress& listen : options.listen) add("listen", listen.text);
  for (const EgressAddress& egress : options.egress) add("egress", egress.text);
  if (!options.egress.empty()) add("egress-expose", on(options.egress_expose));
  add("share-port", on(options.share_port));
  for (const iouring::IpNetwork& network : options.accept_proxy)
    add("accept-proxy", network.to_string());
  for (const AdminAddress& admin : options.admin) add("admin", admin.text);
  add("admin-expose-all", on(options.admin_expose_all));
  add("user", text(options.user, "none"));
  add("confine", on(options.confine));
  add("discovery-allow-empty", on(options.discovery_allow_empty));
  add("discovery-max-removal", std::to_string(options.discovery_max_removal_percent));
  add("state-dir", text(options.state_dir, "none"));
  add("zone", text(options.zone, "none"));
  add("client-eku", options.client_eku == ktls::ClientEku::kRequire  ? "require"
                    : options.client_eku == ktls::ClientEku::kIgnore ? "ignore"
                                                                     : "if-present");
  add("partial-chain", on(options.partial_chain));
  if (options.policy.empty()) {
    std::string protocols = options.alpn ? "none" : "any";
    if (options.alpn && !options.alpn->empty()) {
      protocols.clear();
      for (const std::string& each : *options.alpn)
        protocols += (protocols.empty() ? "" : ":") + each;
    }
    add("alpn", protocols);
    add("truncation", std::string(to_string(options.truncation)));
  }
  add("crl-expired", options.crl_expired == Options::CrlExpired::kAccept ? "accept" : "refuse");
  add("min-tls", options.min_tls == ktls::RecordVersion::kTls12 ? "1.2" : "1.3");
  std::string suites;
  for (const std::string& suite : options.ciphersuites)
    suites += (suites.empty() ? "" : ":") + suite;
  add("ciphersuites", text(suites, "default"));
  add("groups", text(options.groups, "default"));
  add("records", options.records == RecordsWanted::kKernel      ? "kernel"
                 : options.records == RecordsWanted::kUserspace ? "userspace"
                                                                : "auto");
  add("tickets", std::to_string(options.tickets));
  add("ticket-keys", text(options.ticket_keys, "of-the-process"));
  add("ticket-max-age", ms(options.ticket_max_age));
  add("openssl-tuning", on(options.openssl_tuning));
  add("handshake-timeout", ms(options.handshake_timeout));
  add("connect-timeout", ms(options.connect_timeout));
  add("half-close-timeout", ms(options.half_close_timeout));
  add("idle-timeout", ms(options.idle_timeout));
  add("max-lifetime", ms(options.max_lifetime));
  add("drain-delay", ms(options.drain_delay));
  add("drain-timeout", ms(options.drain_timeout));
  add("end-spread", ms(options.end_spread));
  add("expiry-spread", ms(options.expiry_spread));
  std::string kept;
  for (std::size_t i = 0; i < options.keep_live.size(); ++i) {
    if (options.keep_live.test(i))
      kept += std::string(kept.empty() ? "" : ",") += kKeepLiveWords[i];
  }
  add("keep-live", text(kept, "none"));
  add("shards", number(options.shards, "one-per-cpu"));
  add("busy-poll", std::to_string(options.busy_poll_us));
  add("wake-coalescing", std::to_string(options.wake_coalescing_us));
  add("max-connections", number(options.max_connections, "what-descriptors-carry"));
  add("max-handshakes", std::to_string(options.max_handshakes));
  add("max-connections-per-address", std::to_string(options.max_connections_per_address));
  add("max-handshakes-per-address", std::to_string(options.max_handshakes_per_address));
  add("handshake-memory", std::to_string(options.handshake_memory));
  add("log-format", options.log_format == LogFormat::kText ? "text" : "json");
  const LoggedConnections& logged = options.logged_connections;
  add("log-connections", logged.which == LogConnections::kAll       ? "all"
                         : logged.which == LogConnections::kRefused ? "refused"
                                                                    : "none");
  add("log-sample", std::to_string(logged.one_in));
  add("log-probes", on(logged.probes));
  return all + "\n";
}

}  // namespace

std::string check_summary(const Options& options, const Config& config,
                          const RecordChoice& records) {
  const unsigned shards = shard_count(options, usable_cpus().size()).shards;
  return listeners(options) + routes(config) + lines_of_all(config, own_certificates) +
         lines_of_all(config, bundles) + lines_of_all(config, lists) +
         "shards: " + std::to_string(shards) +
         "\nrecords: " + std::string(expected_records(options, records)) + "\n" + flags(options);
}

}  // namespace sallyport::gateway
