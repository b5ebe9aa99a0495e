#include "gateway/run/flags.h"

#include <algorithm>
#include <array>
#include <boost/program_options.hpp>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <span>
#include <sstream>
#include <utility>

#include "ktls/base/text_lines.h"

namespace sallyport::gateway {
namespace {

namespace po = boost::program_options;

struct Flag {
  const char* name;
  const char* value;  // the placeholder; empty for a switch
  bool repeatable;
  const char* help;
};

struct Group {
  const char* title;
  std::span<const Flag> flags;
};

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
    Flag{"admin", "ADDR:PORT", true,
         "Read-only HTTP: metrics, health, connections; also unix:/PATH[,mode=0600]. Repeatable "
         "(default 127.0.0.1:9464)"},
    Flag{"admin-expose-all", "", false,
         "Serve all of it on an address that is not loopback, not only /metrics, /healthz and "
         "/readyz"},
    Flag{"log-format", "json|text", false, "Of both logs (default json)"},
    Flag{"log-level", "debug|info|warning|error", false,
         "Least level of operational lines, on stderr (default info)"},
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
    Flag{"version", "", false, "Print versions and exit"},
    Flag{"help", "", false, "Print this and exit"},
};
constexpr std::array kGroups{
    Group{"Traffic", kTraffic},
    Group{"Credentials and trust", kTrust},
    Group{"Who may pass (exactly one kind)", kWhoMayPass},
    Group{"Every route, where there is no --policy", kRoutes},
    Group{"TLS", kTls},
    Group{"Timeouts (500ms 10s 5m 1h; 0 = off)", kTimeouts},
    Group{"Process", kProcess},
    Group{"Command line only", kCommandLineOnly},
};

// Flags that only make sense as a whole: one of them on the command line overrides all of them in
// the file.
constexpr std::array<std::array<std::string_view, 3>, 2> kDecidedTogether{{
    {"cert", "key", "credentials"},
    {"allow", "allow-any-verified", "policy"},
}};

po::options_description describe(const Group& group) {
  constexpr unsigned kWidth = 100;
  constexpr unsigned kTextWidth = 58;
  po::options_description result(group.title, kWidth, kTextWidth);
  for (const Flag& flag : group.flags) {
    if (*flag.value == '\0') {
      result.add_options()(flag.name, flag.help);
    } else {
      result.add_options()(flag.name, po::value<std::vector<std::string>>()->value_name(flag.value),
                           flag.help);
    }
  }
  return result;
}

const Flag* find_flag(std::string_view name) {
  for (const Group& group : kGroups) {
    for (const Flag& flag : group.flags) {
      if (name == flag.name) return &flag;
    }
  }
  return nullptr;
}

std::optional<OptionsError> add(GivenFlags& given, const Flag& flag, std::string value,
                                std::string where) {
  auto& uses = given[flag.name];
  if (!flag.repeatable && !uses.empty()) {
    return OptionsError{std::move(where), std::string("--") + flag.name, std::move(value),
                        "is given twice, first at " + uses.front().where};
  }
  uses.push_back({std::move(value), std::move(where)});
  return std::nullopt;
}

// With --explain the last --alpn says what the client offers: null where there is none.
const po::option* offer_of_client(const std::vector<po::option>& options) {
  const po::option* offer = nullptr;
  bool explains = false;
  for (const po::option& option : options) {
    if (option.string_key == "alpn") offer = &option;
    explains = explains || option.string_key == "explain";
  }
  return explains ? offer : nullptr;
}

std::expected<GivenFlags, OptionsError> read_command_line(const std::vector<std::string>& words) {
  const std::string where = "command line";
  po::options_description all;
  for (const Group& group : kGroups) all.add(describe(group));

  po::parsed_options parsed(&all);
  try {
    using Style = po::command_line_style::style_t;
    parsed = po::command_line_parser(words)
                 .options(all)
                 .style(Style::allow_long | Style::long_allow_adjacent | Style::long_allow_next)
                 .run();
  } catch (const po::unknown_option& error) {
    return std::unexpected(OptionsError{where, error.get_option_name(), "", "unknown flag"});
  } catch (const po::error_with_option_name& error) {
    return std::unexpected(OptionsError{where, error.get_option_name(), "", error.what()});
  } catch (const po::error& error) {
    return std::unexpected(OptionsError{where, "", "", error.what()});
  }

  GivenFlags given;
  const po::option* const offer = offer_of_client(parsed.options);
  for (const auto& option : parsed.options) {
    const Flag* flag = option.position_key == -1 ? find_flag(option.string_key) : nullptr;
    if (flag == nullptr) {
      const std::string word = option.value.empty() ? option.string_key : option.value.front();
      return std::unexpected(OptionsError{where, "", word, "unexpected argument, flags have --"});
    }
    if (&option == offer) {
      given[kClientAlpn].push_back({option.value.front(), where});
      continue;
    }
    if (auto error =
            add(given, *flag, option.value.empty() ? "true" : option.value.front(), where)) {
      return std::unexpected(*std::move(error));
    }
  }
  return given;
}

// One line of the configuration file into `given`. Not Boost's parser: it takes a '#' anywhere for
// a comment, sections for prefixes, and its errors know no line.
std::optional<OptionsError> read_line(std::string_view line, const std::string& where,
                                      GivenFlags& given) {
  line = ktls::trim(line);
  if (line.empty() || line.starts_with('#')) return std::nullopt;
  const std::size_t equals = line.find('=');
  if (equals == std::string_view::npos) {
    return OptionsError{where, "", std::string(line), "is not 'name = value'"};
  }
  const std::string name(ktls::trim(line.substr(0, equals)));
  const std::string value(ktls::trim(line.substr(equals + 1)));
  const Flag* flag = find_flag(name);
  if (flag == nullptr) return OptionsError{where, name, value, "unknown name"};
  const bool command_line_only =
      std::ranges::any_of(kCommandLineOnly, [&](const Flag& each) { return name == each.name; });
  if (command_line_only) {
    return OptionsError{where, name, value, "belongs on the command line, not in a file"};
  }
  if (value.empty()) return OptionsError{where, name, "", "has no value"};
  if (*flag->value == '\0') {
    if (value == "false") return std::nullopt;
    if (value != "true") return OptionsError{where, name, value, "is neither true nor false"};
  }
  return add(given, *flag, value, where);
}

std::expected<GivenFlags, OptionsError> read_file(const std::string& path) {
  errno = 0;
  std::ifstream file(path);
  const auto failure = [&path] {
    const char* reason = errno == 0 ? "cannot be read" : std::strerror(errno);
    return std::unexpected(OptionsError{"command line", "--config", path, reason});
  };
  if (!file) return failure();
  GivenFlags given;
  unsigned number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    const std::string where = path + ":" + std::to_string(number);
    if (auto error = read_line(line, where, given)) return std::unexpected(*std::move(error));
  }
  if (file.bad()) return failure();  // a directory, for one
  return given;
}

// Whether the command line overrides `name` of the file.
bool decided(const GivenFlags& command_line, std::string_view name) {
  if (command_line.contains(name)) return true;
  for (const auto& together : kDecidedTogether) {
    if (std::ranges::find(together, name) == together.end()) continue;
    if (std::ranges::any_of(together, [&](auto each) { return command_line.contains(each); })) {
      return true;
    }
  }
  return false;
}

}  // namespace

std::expected<GivenFlags, OptionsError> read_flags(int argc, const char* const* argv) {
  const std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  for (const char* name : {"help", "version"}) {
    if (std::ranges::find(words, std::string("--") + name) != words.end()) {
      return GivenFlags{{name, {{"true", "command line"}}}};
    }
  }
  auto command_line = read_command_line(words);
  if (!command_line) return command_line;
  const auto config = command_line->find("config");
  if (config == command_line->end()) return command_line;

  auto file = read_file(config->second.front().value);
  if (!file) return file;
  GivenFlags merged = *command_line;
  for (auto& [name, uses] : *file) {
    if (!decided(*command_line, name)) merged[name] = std::move(uses);
  }
  return merged;
}

std::string help_text() {
  std::ostringstream out;
  out << "sallyport: mutual-TLS gateway\n\n"
         "usage: sallyport --listen ADDR:PORT (--cert FILE --key FILE | --credentials FILE)\n"
         "                 --ca FILE (--allow PATTERN... | --allow-any-verified | --policy FILE)\n"
         "                 --discovery FILE [flag...]\n";
  for (const Group& group : kGroups) out << '\n' << describe(group);
  out << "\nSignals: SIGHUP reloads every file, SIGTERM and SIGINT drain, one more after a second "
         "ends at\nonce.\n"
         "Exit code: 0 drained or --check good, 2 bad command line or configuration, 1 anything "
         "else.\n--explain: 0 let in, 3 refused. --check --against: 0 none would end, 4 some.\n";
  return std::move(out).str();
}

}  // namespace sallyport::gateway
