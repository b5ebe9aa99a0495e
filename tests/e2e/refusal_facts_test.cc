// What the line of a refusal and /refusals say of the client, for each way to be refused: as much
// as it had told by then. The operator has nothing else to find it by.
#include <gmock/gmock.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <csignal>
#include <functional>
#include <memory>
#include <ostream>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ktls/base/openssl_handles.h"
#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

using std::chrono::hours;
using testing::HasSubstr;

/// How far the client came: each has told what those before it had, and more.
enum class HowFar : std::uint8_t {
  kNothing,
  kHello,   ///< server name and protocols
  kRoute,   ///< and a route takes them
  kClaim,   ///< and it presented a certificate
  kProven,  ///< and has proven that it has the key
};

/// The keys of a line that are there from one of these on.
struct LineKey {
  const char* name;
  HowFar since;
};
constexpr std::array<LineKey, 8> kLineKeys{{{"sni", HowFar::kHello},
                                            {"alpn_offered", HowFar::kHello},
                                            {"route", HowFar::kRoute},
                                            {"presented", HowFar::kClaim},
                                            {"issuer", HowFar::kClaim},
                                            {"serial", HowFar::kClaim},
                                            {"not_after", HowFar::kClaim},
                                            {"identity", HowFar::kProven}}};

constexpr char kOrders[] = R"({"routes": {"orders": {"sni": ["orders.example.org"],
    "alpn": ["h2"], "allow": ["spiffe://example.org/ns/shop/**"]}}})";
constexpr char kOneOfEach[] = R"({"routes": {"orders": {"sni": ["orders.example.org"],
    "alpn": ["h2"], "limits": {"connections-per-identity": 1},
    "allow": ["spiffe://example.org/ns/shop/**"]}}})";
constexpr char kNobody[] = R"({"routes": {"orders": {"sni": ["orders.example.org"],
    "alpn": ["h2"], "allow": ["spiffe://example.org/ns/nobody/**"]}}})";
constexpr char kElsewhere[] = R"({"routes": {"billing": {"sni": ["billing.example.org"],
    "alpn": ["h2"], "allow": ["spiffe://example.org/ns/shop/**"]}}})";

// The key that is in the client's certificate to whoever looks at its public part alone.
std::shared_ptr<EVP_PKEY> another_key_of_the_same_looks(const EVP_PKEY* key) {
  const std::shared_ptr<EVP_PKEY> other = make_key(KeyType::kEcdsaP256);
  std::array<unsigned char, 65> point{};
  std::size_t size = 0;
  BIGNUM* scalar = nullptr;
  EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size(), &size);
  EVP_PKEY_get_bn_param(other.get(), OSSL_PKEY_PARAM_PRIV_KEY, &scalar);
  const std::unique_ptr<BIGNUM, decltype(&BN_free)> owned(scalar, BN_free);
  const std::unique_ptr<OSSL_PARAM_BLD, decltype(&OSSL_PARAM_BLD_free)> parts(OSSL_PARAM_BLD_new(),
                                                                              OSSL_PARAM_BLD_free);
  OSSL_PARAM_BLD_push_utf8_string(parts.get(), OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0);
  OSSL_PARAM_BLD_push_octet_string(parts.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), size);
  OSSL_PARAM_BLD_push_BN(parts.get(), OSSL_PKEY_PARAM_PRIV_KEY, scalar);
  const std::unique_ptr<OSSL_PARAM, decltype(&OSSL_PARAM_free)> all(
      OSSL_PARAM_BLD_to_param(parts.get()), OSSL_PARAM_free);
  const std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> context(
      EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr), EVP_PKEY_CTX_free);
  EVP_PKEY* made = nullptr;
  EVP_PKEY_fromdata_init(context.get());
  EVP_PKEY_fromdata(context.get(), &made, EVP_PKEY_KEYPAIR, all.get());
  return {made, EVP_PKEY_free};
}

// For ClientOptions::tamper: flight 0 has the ClientHello, flight 1 ends with Finished.
void keep_finished_back(std::string& ciphertext, std::size_t flight) {
  if (flight == 1) ciphertext.pop_back();
}
void spoil_finished(std::string& ciphertext, std::size_t flight) {
  if (flight == 1) ciphertext.back() = static_cast<char>(ciphertext.back() ^ 1);
}
// Its first record, behind ChangeCipherSpec, is the Certificate.
void spoil_certificate(std::string& ciphertext, std::size_t flight) {
  if (flight == 1) ciphertext.at(20) = static_cast<char>(ciphertext.at(20) ^ 1);
}

class RefusalFacts : public Scenario {
 public:
  using Scenario::client, Scenario::dir, Scenario::discover, Scenario::gateway, Scenario::root;

  /// Starts the gateway with these flags beside a policy of one route; `refused` is where its
  /// backends are.
  void begin(std::vector<std::string> given = {}, const std::string& target = "",
             const std::string& policy = kOrders) {
    dir.replace("policy.json", policy);
    discover({target.empty() ? refusing.address() : target});
    given.insert(given.end(), {"--policy", dir / "policy.json"});
    gateway = std::make_unique<Gateway>(flags(std::move(given)), false);
  }
  ClientOptions offering() const { return offering(client); }
  ClientOptions offering(const TestCertificate& certificate) const {
    ClientOptions options = as(certificate);
    options.alpn = {"h2", "http/1.1"};
    return options;
  }
  /// Kept until the line is there.
  void held(ClientOptions options) { clients.push_back(connect(std::move(options))); }
  /// Leaves once it is told.
  void refused(ClientOptions options) const { connect(std::move(options)).receive(1); }
  /// Is being connected to a backend that does not answer, while `meanwhile` happens.
  void dialling(const std::function<void()>& meanwhile, std::vector<std::string> given = {}) {
    given.insert(given.end(), {"--connect-timeout", "1h", "--end-spread", "0"});
    begin(std::move(given), silent.address());
    held(offering());
    gateway->wait_metric("tls_handshakes_total", {{"result", "success"}}, 1);
    meanwhile();
  }
  void reload(const std::string& file, const std::string& content) {
    dir.replace(file, content);
    gateway->signal(SIGHUP);
  }

  LogLine line_of(const std::string& reason) { return gateway->wait_log({{"reason", reason}}); }
  LogLine listed(const std::string& id) const {
    for (LogLine& each : parse_objects(gateway->get("/refusals").body))
      if (each.at("id") == id) return each;
    ADD_FAILURE() << "not in /refusals";
    return {};
  }

  RefusingAddress refusing;
  SilentAddress silent;
  std::vector<TlsClient> clients;
};

struct RefusalCase {
  const char* name;
  const char* reason;
  HowFar told;
  void (*bring_about)(RefusalFacts& with);
  bool listed = true;  ///< the gateway is there to be asked
  friend void PrintTo(const RefusalCase& each, std::ostream* out) { *out << each.name; }
};

using F = RefusalFacts;

const RefusalCase kRefusalCases[] = {
    // before a ClientHello
    {"TooMany", "shed", HowFar::kNothing,
     [](F& f) {
       f.begin({"--max-connections", "1"}, f.silent.address());
       f.held(f.offering());
       f.gateway->wait_metric("tls_handshakes_total", {{"result", "success"}}, 1);
       f.refused(f.offering());
     }},
    {"TooManyOfItsAddress", "limit_reached", HowFar::kNothing,
     [](F& f) {
       f.begin({"--max-connections-per-address", "1", "--connect-timeout", "1h"},
               f.silent.address());
       f.held(f.offering());
       f.gateway->wait_metric("tls_handshakes_total", {{"result", "success"}}, 1);
       f.refused(f.offering());
     }},
    {"Silent", "handshake_timeout", HowFar::kNothing,
     [](F& f) {
       f.begin({"--handshake-timeout", "300ms"});
       const Fd socket = connect_to(f.gateway->address());
       f.line_of("handshake_timeout");
     }},
    {"Plaintext", "unexpected_message", HowFar::kNothing,
     [](F& f) {
       f.begin();
       const Fd socket = connect_to(f.gateway->address());
       send_all(socket, "GET / HTTP/1.1\r\n\r\n");
       f.line_of("unexpected_message");
     }},
    // at it
    {"UnknownName", "no_route", HowFar::kHello,
     [](F& f) {
       f.begin();
       ClientOptions options = f.offering();
       options.sni = "other.example.org";
       f.refused(std::move(options));
     }},
    {"UnknownProtocol", "no_application_protocol", HowFar::kHello,
     [](F& f) {
       f.begin();
       ClientOptions options = f.offering();
       options.alpn = {"postgresql"};
       f.refused(std::move(options));
     }},
    // the route is known
    {"OldVersion", "protocol_version_unsupported", HowFar::kRoute,
     [](F& f) {
       f.begin();
       ClientOptions options = f.offering();
       options.min_version = options.max_version = TLS1_2_VERSION;
       f.refused(std::move(options));
     }},
    {"NoSharedSuite", "cipher_suite_mismatch", HowFar::kRoute,
     [](F& f) {
       f.begin({"--ciphersuites", "TLS_AES_256_GCM_SHA384"});
       ClientOptions options = f.offering();
       options.ciphersuites = "TLS_CHACHA20_POLY1305_SHA256";
       f.refused(std::move(options));
     }},
    {"NoSharedGroup", "key_exchange_failure", HowFar::kRoute,
     [](F& f) {
       f.begin({"--groups", "X25519"});
       ClientOptions options = f.offering();
       options.groups = "P-384";
       f.refused(std::move(options));
     }},
    {"NoCertificate", "certificate_required", HowFar::kRoute,
     [](F& f) {
       f.begin();
       ClientOptions options = f.offering();
       options.certificate.reset();
       f.refused(std::move(options));
     }},
    {"TooManyCertificates", "certificate_verification_failed", HowFar::kRoute,
     [](F& f) {
       f.begin();
       TestCertificate many = f.client;
       for (int i = 0; i < 20; ++i) many.chain_pem += f.root.cert_pem();
       f.refused(f.offering(many));
     }},
    {"SpoiledCertificate", "decryption_failed", HowFar::kRoute,
     [](F& f) {
       f.begin();
       ClientOptions options = f.offering();
       options.tamper = spoil_certificate;
       f.refused(std::move(options));
     }},
    {"SilentAfterItsHello", "handshake_timeout", HowFar::kRoute,
     [](F& f) {
       f.begin({"--handshake-timeout", "300ms"});
       ClientOptions options = f.offering();
       options.handshake_flights = 1;
       f.held(std::move(options));
     }},
    {"LeavesAfterItsHello", "peer_connection_closed", HowFar::kRoute,
     [](F& f) {
       f.begin();
       ClientOptions options = f.offering();
       options.handshake_flights = 1;
       f.held(std::move(options));
       f.clients.back().abrupt_close();
     }},
    // it has presented a certificate
    {"Expired", "certificate_expired", HowFar::kClaim,
     [](F& f) {
       f.begin();
       f.refused(f.offering(
           f.root.issue({.spiffe = {kWeb}, .not_before = -hours(2), .not_after = -hours(1)})));
     }},
    {"NotYetValid", "certificate_not_yet_valid", HowFar::kClaim,
     [](F& f) {
       f.begin();
       f.refused(f.offering(f.root.issue({.spiffe = {kWeb}, .not_before = hours(1)})));
     }},
    {"Revoked", "certificate_revoked", HowFar::kClaim,
     [](F& f) {
       f.begin({"--crl", f.dir.write("crl.pem", f.root.crl({f.client.serial}))});
       f.refused(f.offering());
     }},
    {"WithoutAList", "crl_unavailable", HowFar::kClaim,
     [](F& f) {
       f.begin({"--crl", f.dir.write("crl.pem", f.root.crl())});
       f.refused(f.offering(f.root.intermediate().issue({.spiffe = {kWeb}})));
     }},
    {"ListLapsed", "crl_expired", HowFar::kClaim,
     [](F& f) {
       const TestAuthority other("Other Root");
       f.begin({"--ca", f.dir.write("both.pem", f.root.cert_pem() + other.cert_pem()), "--crl",
                f.dir.write("lists.pem", f.root.crl() + other.crl({}, -hours(1)))});
       f.refused(f.offering(other.issue({.spiffe = {kWeb}})));
     }},
    {"UnknownAuthority", "certificate_authority_invalid", HowFar::kClaim,
     [](F& f) {
       f.begin();
       f.refused(f.offering(TestAuthority("Other").issue({.spiffe = {kWeb}})));
     }},
    {"TwoNames", "certificate_malformed", HowFar::kClaim,
     [](F& f) {
       f.begin();
       f.refused(f.offering(f.root.issue({.spiffe = {kWeb, "https://example.org/"}})));
     }},
    {"OfAServer", "certificate_purpose_invalid", HowFar::kClaim,
     [](F& f) {
       f.begin();
       f.refused(f.offering(f.root.issue({.spiffe = {kWeb}, .eku = Eku::kServerAuth})));
     }},
    {"WithoutItsKey", "signature_verification_failed", HowFar::kClaim,
     [](F& f) {
       f.begin();
       TestCertificate stolen = f.client;
       stolen.key = another_key_of_the_same_looks(f.client.key.get());
       f.refused(f.offering(stolen));
     }},
    {"SpoiledFinished", "decryption_failed", HowFar::kClaim,
     [](F& f) {
       f.begin();
       ClientOptions options = f.offering();
       options.tamper = spoil_finished;
       f.refused(std::move(options));
     }},
    {"SilentAfterItsCertificate", "handshake_timeout", HowFar::kClaim,
     [](F& f) {
       f.begin({"--handshake-timeout", "300ms"});
       ClientOptions options = f.offering();
       options.tamper = keep_finished_back;
       f.refused(std::move(options));
     }},
    {"LeavesAfterItsCertificate", "peer_connection_closed", HowFar::kClaim,
     [](F& f) {
       f.begin();
       ClientOptions options = f.offering();
       options.tamper = keep_finished_back;
       f.held(std::move(options));
       f.clients.back().abrupt_close();
     }},
    // its key is proven
    {"NotAllowed", "not_authorized", HowFar::kProven,
     [](F& f) {
       f.begin();
       f.refused(f.offering(f.root.issue({.spiffe = {"spiffe://example.org/ns/bank/sa/web"}})));
     }},
    {"TooManyOfItsIdentity", "limit_reached", HowFar::kProven,
     [](F& f) {
       f.begin({"--connect-timeout", "1h"}, f.silent.address(), kOneOfEach);
       f.held(f.offering());
       f.gateway->wait_metric("tls_handshakes_total", {{"result", "success"}}, 1);
       f.refused(f.offering());
     }},
    {"NoEndpoint", "no_endpoint", HowFar::kProven,
     [](F& f) {
       f.begin();
       f.discover(
           {DiscoveryGroup{{f.refusing.address()}, {{"route", "orders"}, {"state", "down"}}}});
       f.gateway->wait_metric("config_reloads_total",
                              {{"source", "discovery"}, {"result", "success"}}, 1);
       f.refused(f.offering());
     }},
    {"BackendRefuses", "backend_refused", HowFar::kProven,
     [](F& f) {
       f.begin();
       f.refused(f.offering());
     }},
    {"BackendSilent", "backend_timeout", HowFar::kProven,
     [](F& f) {
       f.begin({"--connect-timeout", "300ms"}, f.silent.address());
       f.refused(f.offering());
     }},
    {"LeavesWhileABackendIsDialled", "peer_connection_closed", HowFar::kProven,
     [](F& f) { f.dialling([&f] { f.clients.back().abrupt_close(); }); }},
    {"DrainedWhileABackendIsDialled", "drain", HowFar::kProven,
     [](F& f) { f.dialling([&f] { f.gateway->signal(SIGTERM); }, {"--drain-timeout", "300ms"}); },
     false},
    {"RevokedWhileABackendIsDialled", "revoked", HowFar::kProven,
     [](F& f) {
       const std::string crl = f.dir.write("crl.pem", f.root.crl());
       f.dialling([&f] { f.reload("crl.pem", f.root.crl({f.client.serial})); }, {"--crl", crl});
     }},
    {"DisallowedWhileABackendIsDialled", "not_authorized", HowFar::kProven,
     [](F& f) { f.dialling([&f] { f.reload("policy.json", kNobody); }); }},
    {"RouteGoneWhileABackendIsDialled", "route_gone", HowFar::kProven,
     [](F& f) { f.dialling([&f] { f.reload("policy.json", kElsewhere); }); }},
    {"UntrustedWhileABackendIsDialled", "untrusted", HowFar::kProven,
     [](F& f) {
       const TestAuthority other("Other Root");
       const std::string ca = f.dir.write("roots.pem", f.root.cert_pem() + other.cert_pem());
       f.dialling([&] { f.reload("roots.pem", other.cert_pem()); }, {"--ca", ca});
     }},
    {"ExpiredWhileABackendIsDialled", "expired", HowFar::kProven,
     [](F& f) {
       f.client = f.root.issue({.spiffe = {kWeb}, .not_after = std::chrono::seconds(5)});
       f.dialling([] {});
     }},
};

class EachRefusal : public RefusalFacts, public ::testing::WithParamInterface<RefusalCase> {
 protected:
  static void expect_keys(const LogLine& line, HowFar told) {
    for (const LineKey& key : kLineKeys) {
      const bool has = line.contains(key.name) && line.at(key.name) != "" &&
                       line.at(key.name) != "[]" && line.at(key.name) != "null";
      EXPECT_EQ(has, told >= key.since) << key.name;
    }
  }
};

TEST_P(EachRefusal, HasAllThatTheClientHadToldByThen) {
  GetParam().bring_about(*this);
  const LogLine line = line_of(GetParam().reason);
  expect_keys(line, GetParam().told);
  if (GetParam().told >= HowFar::kClaim) {
    const bool proven = GetParam().told == HowFar::kProven;
    EXPECT_THAT(line.at("presented"), HasSubstr("spiffe://example.org/ns/"));
    EXPECT_THAT(line.at("presented"),
                HasSubstr(proven ? R"("verified":true)" : R"("verified":false)"));
  }
  if (!GetParam().listed) {
    EXPECT_EQ(gateway->ended(0), "");
    gateway.reset();
    return;
  }
  LogLine shown = listed(line.at("id"));
  EXPECT_EQ(shown.at("result"), GetParam().reason);
  for (const char* key : {"sni", "alpn_offered", "route", "presented"})
    if (line.contains(key)) EXPECT_EQ(shown.at(key), line.at(key)) << key;
  clients.clear();
}

INSTANTIATE_TEST_SUITE_P(Reasons, EachRefusal, ::testing::ValuesIn(kRefusalCases),
                         [](const auto& info) { return std::string(info.param.name); });

// A word that is added to the gateway is missed here until it has its row.
TEST_F(RefusalFacts, HaveARowForEachResultOfAHandshake) {
  begin();
  std::set<std::string> words;
  for (const std::string& word : gateway->metrics().label_values("tls_handshakes_total", "result"))
    words.insert(word);
  EXPECT_TRUE(words.contains("shed"));
  words.erase("success");
  words.erase("unknown_failure");  // of memory that is short
  for (const char* of_backend_tls : {"backend_tls_failed", "backend_expired", "backend_revoked",
                                     "backend_untrusted", "backend_not_verified"})
    words.erase(of_backend_tls);  // tests/gateway/connection/backend_tls_test.cc
  for (const RefusalCase& each : kRefusalCases) words.erase(each.reason);
  EXPECT_THAT(words, testing::IsEmpty());
}

}  // namespace
}  // namespace sallyport::test
