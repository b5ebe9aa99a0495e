#include "gateway/run/options.h"

#include <algorithm>
#include <concepts>
#include <cstdlib>
#include <initializer_list>
#include <limits>
#include <utility>

#include "gateway/policy/host_name.h"
#include "gateway/policy/number.h"
#include "gateway/policy/suggestion.h"
#include "gateway/run/flag_table.h"
#include "gateway/run/flags.h"
#include "gateway/run/versions.h"

namespace sallyport::gateway {
namespace {

constexpr std::chrono::hours kTicketLifetime{7 * 24};  // RFC 8446 4.6.1

// "--ca [TRUST-DOMAIN=]PATH": what to write.
std::string usage_of(std::string_view name) {
  for (const FlagGroup& group : flag_groups()) {
    for (const Flag& flag : group.flags)
      if (name == flag.name) return "--" + std::string(name) + " " + flag.value;
  }
  std::abort();
}

// Takes values out of the given flags, and keeps all errors: so the story below reads as the list
// that it is.
class Reader {
 public:
  explicit Reader(ReadFlags read)
      : given_(std::move(read.given)), errors_(std::move(read.errors)) {}

  [[nodiscard]] bool has(std::string_view flag) const { return given_.contains(flag); }
  [[nodiscard]] bool alone(std::string_view flag) const { return has(flag) && given_.size() == 1; }
  [[nodiscard]] std::size_t count(std::string_view flag) const { return uses(flag).size(); }

  void text(std::string_view flag, std::string& out) {
    for (const GivenValue& use : uses(flag)) {
      if (use.value.empty()) fail(flag, use, "is empty");
      out = use.value;
    }
  }

  void texts(std::string_view flag, std::vector<std::string>& out) {
    for (const GivenValue& use : uses(flag)) {
      if (use.value.empty()) fail(flag, use, "is empty");
      out.push_back(use.value);
    }
  }

  void on(std::string_view flag, bool& out) { out = has(flag); }

  // `parse` makes a value of the text or an error; `take` gets the value.
  template <class Parse, class Take>
  void parsed(std::string_view flag, Parse parse, Take take) {
    for (const GivenValue& use : uses(flag)) {
      auto value = parse(use.value);
      if (!value) {
        fail(flag, use, value.error());
      } else {
        take(*std::move(value));
      }
    }
  }

  void duration(std::string_view flag, std::chrono::milliseconds& out) {
    parsed(flag, parse_duration, [&](auto value) { out = value; });
  }

  void size(std::string_view flag, std::uint64_t& out, std::uint64_t least) {
    const auto parse = [least](std::string_view text) {
      auto size = parse_size(text);
      if (size && *size < least) size = std::unexpected("is less than " + std::to_string(least));
      return size;
    };
    parsed(flag, parse, [&](std::uint64_t value) { out = value; });
  }

  template <std::unsigned_integral T>
  void number(std::string_view flag, auto& out, T least, T most) {
    for (const GivenValue& use : uses(flag)) {
      const std::optional<T> parsed = parse_number<T>(use.value);
      if (!parsed || *parsed < least || *parsed > most) {
        const bool unbounded = most == std::numeric_limits<T>::max();
        fail(flag, use,
             "is not a whole number from " + std::to_string(least) +
                 (unbounded ? "" : " to " + std::to_string(most)));
        return;
      }
      const T value = *parsed;
      out = value;
    }
  }

  template <class E>
  void choice(std::string_view flag, E& out,
              std::initializer_list<std::pair<std::string_view, E>> words) {
    for (const GivenValue& use : uses(flag)) {
      const auto found =
          std::ranges::find(words, use.value, &std::pair<std::string_view, E>::first);
      if (found != words.end()) {
        out = found->second;
      } else {
        std::string list;
        std::vector<std::string_view> known;
        for (const auto& [word, value] : words) {
          list += (list.empty() ? "" : "|") + std::string(word);
          known.push_back(word);
        }
        fail(flag, use, "is not one of " + list + did_you_mean(use.value, known));
      }
    }
  }

  void require(std::string_view flag) {
    if (has(flag)) return;
    fail("--" + std::string(flag), "", everywhere(), "is required: " + usage_of(flag));
  }

  // What is missing is missing there.
  [[nodiscard]] std::string everywhere() const {
    const auto& file = uses("config");
    return file.empty() ? "command line" : "command line and " + file.front().value;
  }

  void fail(std::string_view flag, const GivenValue& use, std::string what) {
    fail("--" + std::string(flag), use.value, use.where, std::move(what));
  }
  void fail(std::string flag, std::string value, std::string where, std::string what) {
    errors_.push_back({std::move(where), std::move(flag), std::move(value), std::move(what)});
  }

  [[nodiscard]] const std::vector<GivenValue>& uses(std::string_view flag) const {
    static const std::vector<GivenValue> none;
    const auto found = given_.find(flag);
    return found == given_.end() ? none : found->second;
  }
  // Of a flag that is there.
  [[nodiscard]] GivenValue first(std::string_view flag) const {
    const auto& all = uses(flag);
    return all.empty() ? GivenValue{.value = "", .where = everywhere()} : all.front();
  }
  [[nodiscard]] std::vector<OptionsError> take_errors() { return std::move(errors_); }

 private:
  GivenFlags given_;
  std::vector<OptionsError> errors_;
};

void read_listeners(Reader& reader, Options& options) {
  if (!reader.has("listen") && !reader.has("egress"))
    reader.fail("", "", reader.everywhere(),
                "one of --listen and --egress is required: " + usage_of("listen"));
  for (const GivenValue& use : reader.uses("listen")) {
    auto address = parse_listener(use.value);
    if (!address) {
      reader.fail("listen", use, address.error());
      continue;
    }
    const auto taken = std::ranges::find_if(
        options.listen, [&](const ListenAddress& each) { return overlap(each, *address); });
    if (taken != options.listen.end()) {
      reader.fail("listen", use,
                  taken->text == address->text ? "is given twice" : "overlaps " + taken->text);
      continue;
    }
    options.listen.push_back(*std::move(address));
  }
  reader.on("share-port", options.share_port);
  reader.parsed("accept-proxy", iouring::IpNetwork::parse, [&](const iouring::IpNetwork& network) {
    options.accept_proxy.push_back(network);
  });
}

// The same place, or one for two.
bool overlap(const EgressAddress& egress, const ListenAddress& other) {
  if (egress.address.is_unix() || other.address.is_unix()) return egress.address == other.address;
  return overlap(ListenAddress{.text = egress.text, .address = egress.address}, other);
}

// Why `egress` is refused beside what was read before it; empty: it is not.
std::string egress_refusal(const Reader& reader, const Options& options,
                           const EgressAddress& egress) {
  if (!reader.has("policy")) return "needs --policy, which says how its route is reached";
  if (!egress.address.is_loopback() && !options.egress_expose)
    return "is not loopback: others than this machine's applications could act as this gateway; "
           "--egress-expose accepts this";
  for (const ListenAddress& listen : options.listen) {
    if (overlap(egress, listen)) return "overlaps " + listen.text;
  }
  for (const EgressAddress& each : options.egress) {
    if (overlap(egress, {.text = each.text, .address = each.address}))
      return each.text == egress.text ? "is given twice" : "overlaps " + each.text;
  }
  return "";
}

// Whoever connects acts as this gateway.
void read_egress(Reader& reader, Options& options) {
  reader.on("egress-expose", options.egress_expose);
  for (const GivenValue& use : reader.uses("egress")) {
    auto egress = parse_egress_address(use.value);
    std::string why = egress ? egress_refusal(reader, options, *egress) : egress.error();
    if (!why.empty()) {
      reader.fail("egress", use, std::move(why));
    } else {
      options.egress.push_back(*std::move(egress));
    }
  }
}

void read_pairs(Reader& reader, Options& options) {
  for (const GivenValue& use : reader.uses("credentials")) {
    const auto same = std::ranges::find(options.pairs, use.value, &Options::CertificatePair::key);
    if (use.value.empty()) {
      reader.fail("credentials", use, "is empty");
    } else if (same != options.pairs.end()) {
      reader.fail("credentials", use, "is given twice");
    } else {
      options.pairs.push_back({use.value, use.value});
    }
  }
  const std::size_t certs = reader.count("cert");
  const std::size_t keys = reader.count("key");
  if (certs != keys) {
    const GivenValue& last = reader.uses(certs > keys ? "cert" : "key").back();
    return reader.fail("--cert", "", last.where,
                       "and --key go in pairs: there are " + std::to_string(certs) + " and " +
                           std::to_string(keys));
  }
  if (certs == 0 && options.pairs.empty() && reader.has("listen")) {
    return reader.fail("", "", reader.everywhere(),
                       "a certificate is required: --cert and --key, or --credentials");
  }
  std::vector<std::string> cert_files;
  std::vector<std::string> key_files;
  reader.texts("cert", cert_files);
  reader.texts("key", key_files);
  for (std::size_t i = 0; i < certs; ++i) options.pairs.push_back({cert_files[i], key_files[i]});
}

void read_trust(Reader& reader, Options& options) {
  reader.require("ca");
  reader.parsed("ca", parse_trust_bundle,
                [&](TrustBundle bundle) { options.ca.push_back(std::move(bundle)); });
  reader.texts("crl", options.crl);
  reader.choice(
      "crl-expired", options.crl_expired,
      {{"refuse", Options::CrlExpired::kRefuse}, {"accept", Options::CrlExpired::kAccept}});
  reader.choice("client-eku", options.client_eku,
                {{"require", ktls::ClientEku::kRequire},
                 {"if-present", ktls::ClientEku::kIfPresent},
                 {"ignore", ktls::ClientEku::kIgnore}});
  reader.on("partial-chain", options.partial_chain);
  reader.parsed("keep-live", parse_live_cause,
                [&](LiveCause cause) { options.keep_live.set(static_cast<std::size_t>(cause)); });
}

// Deny by default: without one of the three no client could pass, which is never meant.
void read_rules(Reader& reader, Options& options) {
  std::string_view first;
  for (const std::string_view flag : {"allow", "allow-any-verified", "policy"}) {
    if (!reader.has(flag)) continue;
    if (!first.empty()) {
      return reader.fail(flag, reader.first(flag),
                         "excludes --" + std::string(first) + ", which is given too");
    }
    first = flag;
  }
  if (first.empty()) {
    return reader.fail(
        "", "", reader.everywhere(),
        "one of --allow, --allow-any-verified and --policy is required: " + usage_of("allow"));
  }
  reader.texts("allow", options.allow);
  reader.on("allow-any-verified", options.allow_any_verified);
  reader.text("policy", options.policy);
  for (const std::string_view flag : {"alpn", "truncation"}) {
    if (!reader.has("policy") || !reader.has(flag)) continue;
    return reader.fail(flag, reader.first(flag),
                       "is for routes without a policy file, and --policy is given");
  }
  reader.parsed("alpn", parse_alpn_list, [&](auto list) { options.alpn = std::move(list); });
  reader.choice("truncation", options.truncation,
                {{"reset", Truncation::kReset}, {"close", Truncation::kClose}});
}

void read_discovery(Reader& reader, Options& options) {
  reader.require("discovery");
  reader.text("discovery", options.discovery);
  reader.on("discovery-allow-empty", options.discovery_allow_empty);
  reader.number("discovery-max-removal", options.discovery_max_removal_percent, 0U, 100U);
  reader.text("zone", options.zone);
  if (!options.zone.empty() && !is_route_name(options.zone)) {
    reader.fail("zone", reader.first("zone"),
                "is no name: it has 1 to 255 bytes and no control characters");
  }
  reader.text("state-dir", options.state_dir);
}

void read_tls(Reader& reader, Options& options) {
  reader.choice("min-tls", options.min_tls,
                {{"1.2", ktls::RecordVersion::kTls12}, {"1.3", ktls::RecordVersion::kTls13}});
  reader.choice("records", options.records,
                {{"auto", RecordsWanted::kAuto},
                 {"kernel", RecordsWanted::kKernel},
                 {"userspace", RecordsWanted::kUserspace}});
  reader.parsed("ciphersuites", parse_ciphersuites,
                [&](auto suites) { options.ciphersuites = std::move(suites); });
  reader.parsed("groups", parse_groups, [&](auto groups) { options.groups = std::move(groups); });
  reader.choice("confine", options.confine, {{"on", true}, {"off", false}});
  reader.choice("openssl-tuning", options.openssl_tuning, {{"on", true}, {"off", false}});
  reader.number("tickets", options.tickets, 0U, 8U);
  reader.text("ticket-keys", options.ticket_keys);

  reader.duration("ticket-max-age", options.ticket_max_age);
  if (options.ticket_max_age.count() == 0) options.ticket_max_age = kTicketLifetime;
  if (options.ticket_max_age > kTicketLifetime || options.ticket_max_age.count() % 1'000 != 0) {
    reader.fail("ticket-max-age", reader.first("ticket-max-age"),
                "is not a number of whole seconds up to 7 days (168h)");
  }
}

void read_timeouts(Reader& reader, Options& options) {
  reader.duration("handshake-timeout", options.handshake_timeout);
  reader.duration("connect-timeout", options.connect_timeout);
  reader.duration("half-close-timeout", options.half_close_timeout);
  reader.duration("drain-timeout", options.drain_timeout);
  reader.duration("idle-timeout", options.idle_timeout);
  reader.duration("max-lifetime", options.max_lifetime);
  reader.duration("drain-delay", options.drain_delay);
  reader.duration("end-spread", options.end_spread);
  reader.duration("expiry-spread", options.expiry_spread);
}

void read_against(Reader& reader, Options& options) {
  if (reader.has("against") && !reader.has("check"))
    return reader.fail("against", reader.first("against"), "goes with --check");
  reader.parsed("against", parse_admin_url,
                [&](AdminUrl url) { options.against = std::move(url); });
}

void read_client(Reader& reader, Options& options) {
  if (!reader.has("explain")) {
    for (const GivenValue& use : reader.uses("sni")) reader.fail("sni", use, "goes with --explain");
    return;
  }
  if (reader.has("check"))
    return reader.fail("explain", reader.first("explain"), "excludes --check, which is given too");
  Options::Client& client = options.explain.emplace();
  reader.text("explain", client.certificates);
  reader.text("sni", client.sni);
  for (const GivenValue& use : reader.uses(kClientAlpn)) {
    auto offer = parse_alpn_list(use.value);
    if (!offer) return reader.fail("alpn", use, offer.error());
    client.alpn = *std::move(offer);
  }
}

void read_process(Reader& reader, Options& options) {
  for (const GivenValue& use : reader.uses("admin")) {
    auto address = parse_admin_address(use.value);
    const auto same = [&](const AdminAddress& each) { return each.text == address->text; };
    if (!address) {
      reader.fail("admin", use, address.error());
    } else if (std::ranges::any_of(options.admin, same)) {
      reader.fail("admin", use, "is given twice");
    } else {
      options.admin.push_back(*std::move(address));
    }
  }
  if (!reader.has("admin")) options.admin.push_back(*parse_admin_address("127.0.0.1:9464"));
  reader.on("admin-expose-all", options.admin_expose_all);
  reader.number("shards", options.shards, 1U, 1024U);
  reader.number("busy-poll", options.busy_poll_us, 0U, 1'000U);
  reader.number("wake-coalescing", options.wake_coalescing_us, 0U, 1'000U);
  reader.number("max-connections", options.max_connections, std::uint64_t{1},
                std::numeric_limits<std::uint64_t>::max());
  reader.number("max-handshakes", options.max_handshakes, 1U, 1'000'000U);
  reader.number("max-connections-per-address", options.max_connections_per_address,
                std::uint32_t{0}, std::uint32_t{1'000'000});
  reader.number("max-handshakes-per-address", options.max_handshakes_per_address, std::uint32_t{0},
                std::uint32_t{65'535});
  reader.size("handshake-memory", options.handshake_memory, std::uint64_t{1} << 20);
  reader.text("user", options.user);
  reader.choice("log-format", options.log_format,
                {{"json", LogFormat::kJson}, {"text", LogFormat::kText}});
  reader.choice("log-level", options.log_level,
                {{"debug", LogLevel::kDebug},
                 {"info", LogLevel::kInfo},
                 {"warning", LogLevel::kWarning},
                 {"error", LogLevel::kError}});
  LoggedConnections& logged = options.logged_connections;
  reader.choice("log-connections", logged.which,
                {{"all", LogConnections::kAll},
                 {"refused", LogConnections::kRefused},
                 {"none", LogConnections::kNone}});
  reader.number("log-sample", logged.one_in, std::uint32_t{1}, std::uint32_t{1'000'000});
  reader.choice("log-probes", logged.probes, {{"on", true}, {"off", false}});
  reader.on("check", options.check);
  reader.text("config", options.config);
}

std::string version_text() {
  const Versions running = versions();
  const std::string commit = running.commit.empty() ? "" : "commit " + running.commit + "\n";
  return "sallyport " + running.sallyport + "\n" + commit + "OpenSSL " + running.openssl +
         "\nliburing " + running.liburing + "\nLinux " + running.kernel + "\n";
}

// The gateway has its flags already.
std::expected<CommandLine, RefusedOptions> read_reload(Reader& reader) {
  if (!reader.alone("reload"))
    reader.fail("reload", reader.uses("reload").front(), "takes no other flag beside it");
  std::uint32_t gateway = 0;
  constexpr auto kMost = static_cast<std::uint32_t>(std::numeric_limits<pid_t>::max());
  reader.number("reload", gateway, std::uint32_t{1}, kMost);
  if (std::vector<OptionsError> errors = reader.take_errors(); !errors.empty())
    return std::unexpected(RefusedOptions{.errors = std::move(errors), .understood = {}});
  return ReloadRequest{static_cast<pid_t>(gateway)};
}

}  // namespace

std::string OptionsError::message() const {
  std::string text = where.empty() ? "" : where + ": ";
  if (!flag.empty()) text += flag + " ";
  if (!value.empty()) text += "'" + value + "' ";
  return text + what;
}

std::expected<CommandLine, RefusedOptions> parse(int argc, const char* const* argv) {
  ReadFlags read = read_flags(argc, argv);
  if (read.given.contains("help")) return Information{help_text()};
  if (read.given.contains("version")) return Information{version_text()};

  Reader reader(std::move(read));
  if (reader.has("reload")) return read_reload(reader);
  Options options;
  read_listeners(reader, options);
  read_egress(reader, options);
  read_pairs(reader, options);
  read_trust(reader, options);
  read_rules(reader, options);
  read_discovery(reader, options);
  read_tls(reader, options);
  read_timeouts(reader, options);
  read_process(reader, options);
  read_against(reader, options);
  read_client(reader, options);
  std::vector<OptionsError> errors = reader.take_errors();
  if (errors.empty()) return options;
  return std::unexpected(
      RefusedOptions{.errors = std::move(errors), .understood = std::move(options)});
}

}  // namespace sallyport::gateway
