#include "gateway/run/flag_table.h"

#include <array>

namespace sallyport::gateway {
namespace {

constexpr std::array kTraffic{
    Flag{"listen", "ADDR:PORT", true,
         "Mutual-TLS listener, IPv4 or [IPv6]; port 0 takes a free one and logs it. With "
         "',starttls=postgresql' behind it for clients of PostgreSQL. Required, or --egress; "
         "repeatable"},
    Flag{"egress", "ADDR:PORT=ROUTE", true,
         "Plaintext listener for applications of this machine, which act as this gateway on that "
         "route of --policy; also unix:/PATH=ROUTE[,mode=0600][,owner=U][,group=G]. The route has "
         "\"backend-tls\". Repeatable"},
    Flag{"egress-expose", "", false, "Accept an --egress on an address that is not loopback"},
    Flag{"share-port", "", false,
         "Listen beside another process of this user that has the address, to take over from it "
         "without a gap (default: an address in use is an error)"},
    Flag{"accept-proxy", "CIDR", true,
         "Connections from this network come by a proxy: each must begin with a PROXY header, "
         "version 1 or 2, which says the client's address. Repeatable"},
    Flag{"discovery", "FILE", false,
         "Endpoints, as Prometheus' file_sd or Envoy's ClusterLoadAssignment has them, in JSON, or "
         "in YAML if it ends in .yml or .yaml. Required"},
    Flag{"discovery-allow-empty", "", false,
         "Accept an update that leaves a route that had endpoints with none, and without --policy "
         "a file without routes"},
    Flag{"discovery-max-removal", "PERCENT", false,
         "Refuse an update that leaves a route with fewer targets by more than this (default 100)"},
    Flag{"zone", "NAME", false,
         "Our zone: routes with \"prefer-zone\" connect to endpoints of this zone while enough of "
         "them "
         "are good"},
    Flag{"state-dir", "DIR", false,
         "Keep the last good endpoints there, and use them at a start where the discovery file is "
         "missing or refused. Of this user, mode 0700"},
};
constexpr std::array kTrust{
    Flag{"cert", "FILE", true,
         "PEM certificate chain, leaf first, with --key. Required with --listen, or --credentials; "
         "repeatable in pairs: an ECDSA pair beside an RSA one"},
    Flag{"key", "FILE", true, "PEM private key of the --cert at the same place"},
    Flag{"credentials", "FILE", true,
         "PEM private key and certificate chain in one file, in any order, instead of or beside "
         "--cert and --key. Repeatable"},
    Flag{"ca", "[TRUST-DOMAIN=]PATH", true,
         "Trust anchors for client certificates: a file, or a directory of *.pem, *.crt and *.crl "
         "files. With a trust domain they vouch only for its SPIFFE IDs. Required, repeatable"},
    Flag{"crl", "PATH", true,
         "Certificate revocation lists: a file, or a directory as of --ca; with any given, every "
         "certificate below the anchor must be covered by its issuer's. Repeatable"},
    Flag{"crl-expired", "refuse|accept", false,
         "What to do when a CRL is past its next update (default refuse)"},
    Flag{"client-eku", "require|if-present|ignore", false,
         "When a client's certificate must have the extended key usage clientAuth: always, if it "
         "has any such usage, never (default if-present)"},
    Flag{"partial-chain", "", false,
         "Every certificate of a --ca file anchors chains, not only self-signed ones"},
    Flag{"keep-live", "CAUSE", true,
         "Keep live connections that no longer hold what let them in: expired, revoked, untrusted, "
         "not_authorized or route_gone. Never for handshakes. Repeatable"},
};
constexpr std::array kWhoMayPass{
    Flag{"allow", "PATTERN", true,
         "Identities that may pass: spiffe://domain/path with * for a segment and ** at the end, "
         "or dns:name. Repeatable"},
    Flag{"allow-any-verified", "", false, "Any client with a verified certificate may pass"},
    Flag{"policy", "FILE", false, "Routes, and who may pass on each, in JSON"},
};
constexpr std::array kRoutes{
    Flag{"alpn", "LIST", false,
         "Application protocols, colons between, in our order; a client that offers only others is "
         "refused. With the word none a client that offers any is refused (default: whatever is "
         "offered, no protocol is chosen). With --explain the last one on the command line is what "
         "the client offers"},
    Flag{"truncation", "reset|close", false,
         "What a backend sees of a client that ends without close_notify (default reset)"},
};
constexpr std::array kTls{
    Flag{"records", "auto|kernel|userspace", false,
         "Where TLS records are protected: auto is the kernel where it can and userspace where it "
         "cannot; kernel does not start where it cannot (default auto)"},
    Flag{"min-tls", "1.2|1.3", false,
         "Least TLS version (default 1.3). TLS 1.2: ECDHE with AEAD suites and extended master "
         "secret only, no tickets, no renegotiation"},
    Flag{"ciphersuites", "LIST", false,
         "TLS 1.3 cipher suites, colons between (default: OpenSSL's order); TLS 1.2 takes the "
         "suites of the same AEADs"},
    Flag{"groups", "LIST", false,
         "Key exchange groups, colons between (default X25519MLKEM768:X25519:P-256, each where "
         "OpenSSL has it)"},
    Flag{"tickets", "N", false,
         "Session tickets after each full handshake (default 1); 0 turns resumption off"},
    Flag{"ticket-keys", "FILE", false,
         "Secret that seals tickets, to share and rotate in a fleet; it can forge any identity "
         "(default: a secret of this process)"},
    Flag{"ticket-max-age", "DURATION", false,
         "Longest time from a full handshake to the last resumption of it (default 8h; 0 = the 7 "
         "days of RFC 8446)"},
    Flag{"openssl-tuning", "on|off", false,
         "off: nothing is used beyond OpenSSL's public API, and handshakes cost more (default on; "
         "the metric tls_library says what is in force)"},
};
constexpr std::array kTimeouts{
    Flag{"handshake-timeout", "DURATION", false,
         "From accept to the end of the handshake (default 10s)"},
    Flag{"connect-timeout", "DURATION", false,
         "To connect to a backend, TLS and all tries together (default 3s)"},
    Flag{"half-close-timeout", "DURATION", false,
         "Without a byte after one side has ended (default 60s)"},
    Flag{"idle-timeout", "DURATION", false, "Without a byte either way (default 0)"},
    Flag{"max-lifetime", "DURATION", false,
         "Longest life of a connection, with jitter (default 0)"},
    Flag{"drain-delay", "DURATION", false,
         "Not ready, still accepting, before draining (default 0)"},
    Flag{"drain-timeout", "DURATION", false, "For connections to end after SIGTERM (default 30s)"},
    Flag{"end-spread", "DURATION", false,
         "Over which the connections end that one change of the configuration ends (default 5s)"},
    Flag{"expiry-spread", "DURATION", false,
         "Before the expiry of their peers' chains over which connections end, at most a tenth of "
         "the certificate's lifetime (default 10m)"},
};
constexpr std::array kProcess{
    Flag{"shards", "N", false,
         "Event loops, one thread each (default: the usable CPUs, or the cgroup's CPU quota "
         "rounded up)"},
    Flag{"busy-poll", "MICROSECONDS", false,
         "Before an event loop sleeps, look out for the next event for so long: fewer wake-ups, "
         "lower latency, more CPU (default 0 = sleep at once; at most 1000)"},
    Flag{"wake-coalescing", "MICROSECONDS", false,
         "How long an event of a busy event loop may wait for others, so that one wake-up serves "
         "several: less CPU (default 50; 0 = never; at most 1000)"},
    Flag{"max-connections", "N", false,
         "Client connections of the process (default: what its descriptors carry)"},
    Flag{"max-handshakes", "N", false, "Handshakes with work to do, per shard (default 512)"},
    Flag{"max-connections-per-address", "N", false,
         "Open connections of one IPv4 address or IPv6 /64, in all (default 0: no limit)"},
    Flag{"max-handshakes-per-address", "N", false,
         "Handshakes of one IPv4 address or IPv6 /64 in a second, in all (default 0: no limit)"},
    Flag{
        "handshake-memory", "BYTES", false,
        "What handshakes that wait may hold, per shard (default 64M); beyond it the longest waiter "
        "of the address with most waiters is shed"},
    Flag{"user", "NAME", false, "User to become after binding; it reads the files"},
    Flag{"confine", "on|off", false,
         "off: the process may open all files that its user may, and not only those in directories "
         "that its flags and its policy file named at start (default on)"},
    Flag{"admin", "ADDR:PORT", true,
         "Read-only HTTP: metrics, health, connections; also unix:/PATH[,mode=0600]. Repeatable "
         "(default 127.0.0.1:9464)"},
    Flag{"admin-expose-all", "", false,
         "Serve all of it on an address that is not loopback, not only /metrics, /healthz and "
         "/readyz"},
    Flag{"log-format", "json|text", false, "Of both logs (default json)"},
    Flag{"log-level", "debug|info|warning|error", false,
         "Least level of operational lines, on stderr (default info)"},
    Flag{"log-connections", "all|refused|none", false,
         "Which connections get a line on stdout. refused: those that were refused, or did not end "
         "well (default all)"},
    Flag{"log-sample", "N", false,
         "Write one in N of the lines of connections that ended well, drawn by chance (default 1)"},
    Flag{"log-probes", "on|off", false,
         "off: connections that close before their first byte, the probes of load balancers, are "
         "counted and not logged (default on)"},
};
constexpr std::array kCommandLineOnly{
    Flag{"config", "FILE", false, "More flags, one 'name = value' a line; the command line wins"},
    Flag{"check", "", false, "Read and check everything, say what was read, and exit"},
    Flag{"against", "URL", false,
         "With --check: also say which connections of a running gateway this configuration would "
         "end; its admin HTTP is http://HOST:PORT or unix:/PATH. Exit code 0 none, 4 some"},
    Flag{"explain", "CERT", false,
         "Judge a client's certificates, a PEM file with its own first, as a handshake would; say "
         "each step and the verdict, and exit: 0 let in, 3 refused. No private key is read"},
    Flag{"sni", "NAME", false, "With --explain: the server name that the client asks for"},
    Flag{"reload", "PID", false,
         "Have the gateway of this process read its files again, as SIGHUP does, wait for the "
         "outcome, and exit: 0 all in force, 2 something is refused, which is said. For root and "
         "the gateway's user"},
    Flag{"version", "", false, "Print versions and exit"},
    Flag{"help", "", false, "Print this and exit; also -h"},
};
constexpr std::array kGroups{
    FlagGroup{"Traffic", kTraffic},
    FlagGroup{"Credentials and trust", kTrust},
    FlagGroup{"Who may pass (exactly one kind)", kWhoMayPass},
    FlagGroup{"Every route, where there is no --policy", kRoutes},
    FlagGroup{"TLS", kTls},
    FlagGroup{"Timeouts (500ms 10s 5m 1h; 0 = off)", kTimeouts},
    FlagGroup{"Process", kProcess},
    FlagGroup{"Command line only", kCommandLineOnly, false},
};

}  // namespace

std::span<const FlagGroup> flag_groups() {
  return kGroups;
}

}  // namespace sallyport::gateway
