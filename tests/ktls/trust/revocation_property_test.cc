// Revocation is judged alike in full handshakes, by tickets and by cached chains, and in full
// handshakes no laxer than by OpenSSL's own check: over lists at random, with fixed seeds that a
// failure names.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/x509_vfy.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ktls/trust/chain_cache.h"
#include "ktls/trust/verify_chain.h"
#include "tests/ktls/handshake/loopback.h"
#include "tests/ktls/trust/bare_stack.h"
#include "tests/ktls/trust/crl_builder.h"
#include "tests/support/random.h"

namespace sallyport::ktls::testing {
namespace {

using test::Random;
using namespace std::chrono_literals;
using std::chrono::sys_seconds;
using test::TestAuthority;
using test::TestCertificate;
using ::testing::HasSubstr;

using Trust = std::shared_ptr<const PeerTrust>;
using Verified = std::expected<Trust, HandshakeFailure>;
using StoreContextPtr = OpensslPtr<X509_STORE_CTX, X509_STORE_CTX_free>;

constexpr const char* kFirstPoint = "URI:http://ca/1";
constexpr const char* kSecondPoint = "URI:http://ca/2";

// The issuing authorities are below the root, the twins have one name, the mute one may not sign
// lists.
enum Authority : std::size_t { kRoot, kIssuing, kTwin, kMute, kAuthorities };

struct Peer {
  std::string name;
  Authority issuer = kRoot;
  TestCertificate leaf;
  bool has_point = false;  ///< the leaf; no intermediate has one
};

/// Authorities and peers, made once for all seeds.
class Mesh {
 public:
  Mesh() {
    authorities[kRoot] = root_.certificate();
    authorities[kIssuing] = issuing_.certificate();
    authorities[kTwin] = twin_.certificate();
    authorities[kMute] = reissue(mute_.certificate(), root_.certificate(),
                                 {{"keyUsage", "critical,keyCertSign,digitalSignature"}});
    add("direct", kRoot, root_.issue({.dns = {"a"}}));
    add("direct, first point", kRoot, root_.issue({.dns = {"b"}}), kFirstPoint);
    add("issued", kIssuing, issuing_.issue({.dns = {"c"}}));
    add("issued, first point", kIssuing, issuing_.issue({.dns = {"d"}}), kFirstPoint);
    add("issued, both points", kIssuing, issuing_.issue({.dns = {"e"}}),
        std::string(kFirstPoint) + "," + kSecondPoint);
    add("issued, an authority itself", kIssuing, issuing_.issue({.dns = {"f"}, .ca = true}));
    add("of the twin", kTwin, twin_.issue({.dns = {"g"}}));
    add("of the mute", kMute, mute_.issue({.dns = {"h"}}));
  }

  TestCertificate authorities[kAuthorities];
  std::vector<Peer> peers;

 private:
  void add(const char* name, Authority issuer, const TestCertificate& leaf,
           const std::string& points = "") {
    Peer peer{.name = name, .issuer = issuer, .leaf = leaf, .has_point = !points.empty()};
    if (peer.has_point)
      peer.leaf = reissue(leaf, authorities[issuer], {{"crlDistributionPoints", points}});
    peers.push_back(std::move(peer));
  }

  TestAuthority root_{"Root"};
  TestAuthority issuing_ = root_.intermediate("Issuing");
  TestAuthority twin_ = root_.intermediate("Issuing");
  TestAuthority mute_ = root_.intermediate("Mute");
};

const Mesh& mesh() {
  static const Mesh once;
  return once;
}

/// A list as it was chosen.
struct ListOf {
  Authority issuer = kRoot;
  CrlSpec spec;
  std::string kind;        ///< of onlyContains...: "onlyuser:TRUE", or nothing
  std::string point;       ///< the distribution point's name, or nothing
  std::string load_error;  ///< a part of it; empty: can be honoured
  X509CrlPtr whole, without_point;

  void make() {
    whole = make(true);
    without_point = make(false);
  }

 private:
  X509CrlPtr make(bool with_point) const {
    CrlSpec scoped = spec;
    // By which OpenSSL tells the lists of the twins apart.
    scoped.extensions.push_back({"authorityKeyIdentifier", "keyid:always"});
    std::string idp = kind;
    if (with_point && !point.empty()) idp += (idp.empty() ? "fullname:" : ",fullname:") + point;
    if (!idp.empty()) scoped.extensions.push_back({"issuingDistributionPoint", "critical," + idp});
    return make_crl(mesh().authorities[issuer], scoped);
  }
};

ListOf random_list(Random& random) {
  ListOf list;
  list.issuer = random.one_of({kRoot, kRoot, kRoot, kIssuing, kIssuing, kIssuing, kTwin, kMute});
  list.spec.this_update = -1min * static_cast<int>(1 + random.up_to(600));
  if (random.one_in(8)) list.spec.next_update = -30s;
  if (random.one_in(12)) list.spec.this_update = 1h;
  if (random.one_in(12)) list.spec.next_update.reset();
  for (const Peer& peer : mesh().peers)
    if (peer.issuer == list.issuer && random.one_in(6))
      list.spec.serials.push_back(peer.leaf.serial);
  if (random.one_in(2)) {
    list.kind = random.one_of({"", "onlyuser:TRUE", "onlyuser:TRUE", "onlyCA:TRUE"});
    if (random.one_in(2)) list.point = random.one_of({kFirstPoint, kSecondPoint});
  }
  if (list.issuer == kRoot && list.kind != "onlyuser:TRUE")
    for (const TestCertificate& authority : mesh().authorities)
      if (random.one_in(40)) list.spec.serials.push_back(authority.serial);
  return list;
}

/// What can never be honoured.
void spoil(ListOf& list, Random& random) {
  const auto entry = [&](const char* name, const char* value) {
    list.spec.serials.push_back(1 + random.up_to(1000));
    list.spec.entry_extensions.push_back({name, value});
  };
  switch (random.up_to(8)) {
    case 0:
      list.kind = "onlysomereasons:keyCompromise";
      list.load_error = "onlySomeReasons";
      break;
    case 1:
      list.kind = "indirectCRL:TRUE";
      list.load_error = "indirectCRL";
      break;
    case 2:
      list.kind = "onlyAA:TRUE";
      list.load_error = "onlyContainsAttributeCerts";
      break;
    case 3:
      list.kind = "onlyuser:TRUE,onlyCA:TRUE";
      list.load_error = "onlyContainsUserCerts and onlyContainsCACerts";
      break;
    case 4:
      list.spec.extensions.push_back({"1.2.3.4.5", "critical,DER:0500"});
      list.load_error = "critical extension 1.2.3.4.5";
      break;
    case 5:
      list.spec.extensions.push_back({"deltaCRL", "critical,DER:020101"});
      list.load_error = "delta CRL";
      break;
    case 6:
      entry("certificateIssuer", "critical,DER:3003860161");
      list.load_error = "certificateIssuer";
      break;
    case 7:
      entry("CRLReason", "DER:0A0108");
      list.load_error = "removeFromCRL";
      break;
    default:
      entry("1.2.3.4.5", "critical,DER:0500");
      list.load_error = "critical extension 1.2.3.4.5";
      break;
  }
}

std::string word(HandshakeResult result) {
  return std::string(to_string(result));
}
std::string word(const Verified& verified) {
  return word(verified ? HandshakeResult::kSuccess : verified.error().result);
}

// OpenSSL's check covers the anchor, too, which needs no list here but may be revoked.
template <bool kAcceptExpired>
int spare_the_anchor(int ok, X509_STORE_CTX* context) {
  if (ok == 1) return 1;
  const int error = X509_STORE_CTX_get_error(context);
  if (kAcceptExpired && error == X509_V_ERR_CRL_HAS_EXPIRED) return 1;
  const int last = sk_X509_num(X509_STORE_CTX_get0_chain(context)) - 1;
  return X509_STORE_CTX_get_error_depth(context) == last && error != X509_V_ERR_CERT_REVOKED ? 1
                                                                                             : 0;
}

BareStackPtr others_of(const Peer& peer) {
  BareStackPtr others(sk_X509_new_null());
  if (peer.issuer != kRoot) sk_X509_push(others.get(), mesh().authorities[peer.issuer].x509.get());
  return others;
}

X509StorePtr root_store() {
  X509StorePtr store(X509_STORE_new());
  X509_STORE_add_cert(store.get(), mesh().authorities[kRoot].x509.get());
  return store;
}

StoreContextPtr context_of(X509_STORE* store, const Peer& peer, STACK_OF(X509) * others) {
  StoreContextPtr context(X509_STORE_CTX_new());
  X509_STORE_CTX_init(context.get(), store, peer.leaf.x509.get(), others);
  X509_STORE_CTX_set_default(context.get(), "ssl_client");
  return context;
}

Verified verify(const Credentials& credentials, const Peer& peer, ChainCache& cache,
                sys_seconds now) {
  static const X509StorePtr store = root_store();
  const BareStackPtr others = others_of(peer);
  const StoreContextPtr context = context_of(store.get(), peer, others.get());
  return verify_chain(context.get(), credentials, cache, now, Role::kClient);
}

/// What a full handshake without any list has put into the peer's ticket.
const PeerTrust& earned_trust(const Peer& peer) {
  static const std::vector<PeerTrust> all = [] {
    TestServer server;
    server.files.ca = {
        {std::nullopt, server.dir.write("ca.pem", mesh().authorities[kRoot].cert_pem)}};
    const auto credentials = server.load();
    std::vector<PeerTrust> made;
    for (const Peer& each : mesh().peers) {
      ChainCache nothing(0);
      const Verified verified = verify(**credentials, each, nothing, wall_clock_now());
      EXPECT_TRUE(verified) << each.name;
      made.push_back(verified ? *PeerTrust::parse((*verified)->serialise()) : PeerTrust{});
    }
    return made;
  }();
  return all[static_cast<std::size_t>(&peer - mesh().peers.data())];
}

/// One set of lists, and every peer against it.
class Trial {
 public:
  Trial(TestServer& server, Random& random)
      : server_(server),
        knows_issuing_(random.one_in(2)),
        knows_mute_(random.one_in(2)),
        accept_expired_(random.one_in(6)) {
    const std::size_t count = 1 + random.up_to(5);
    for (std::size_t i = 0; i < count; ++i) {
      lists_.push_back(random_list(random));
      if (random.one_in(12)) spoil(lists_.back(), random);
      if (lists_.back().load_error.empty())
        lists_.back().load_error = signature_error(lists_.back());
    }
    // Half of the sets have a good list of each authority as well.
    if (random.one_in(2)) {
      for (const Authority issuer : {kRoot, kIssuing}) lists_.emplace_back().issuer = issuer;
      std::ranges::rotate(lists_, lists_.begin() + static_cast<int>(random.up_to(count)));
    }
  }

  void run() {
    for (ListOf& list : lists_) list.make();
    set_trust();
    if (refused_at_load()) return;
    const auto credentials = server_.load();
    ASSERT_TRUE(credentials) << credentials.error().message();
    for (const Peer& peer : mesh().peers) {
      SCOPED_TRACE(peer.name + description());
      check(**credentials, peer);
    }
  }

  int passed = 0, refused = 0, unloadable = 0;

 private:
  std::string signature_error(const ListOf& list) const {
    if (list.issuer == kMute && knows_mute_) return "cRLSign";
    return "";
  }

  std::string description() const {
    std::string text = accept_expired_ ? "; expired lists accepted" : "";
    for (const ListOf& list : lists_)
      text += "\n" + std::to_string(list.issuer) + " " + list.kind + " " + list.point + " from " +
              std::to_string(list.spec.this_update.count()) + " to " +
              (list.spec.next_update ? std::to_string(list.spec.next_update->count()) : "never") +
              ", entries " + std::to_string(list.spec.serials.size());
    return text;
  }

  void set_trust() {
    std::string bundle = mesh().authorities[kRoot].cert_pem;
    if (knows_issuing_) bundle += mesh().authorities[kIssuing].cert_pem;
    if (knows_mute_) bundle += mesh().authorities[kMute].cert_pem;
    server_.files.ca = {{std::nullopt, server_.dir.write("ca.pem", bundle)}};
    server_.settings.accept_expired_crl = accept_expired_;
  }

  // The first list that cannot be honoured is the one that is named; without them the others load.
  bool refused_at_load() {
    const auto write = [this] {
      server_.files.crls.clear();
      for (std::size_t i = 0; i < lists_.size(); ++i)
        server_.files.crls.push_back(
            server_.dir.write(std::to_string(i) + ".crl", to_pem(lists_[i].whole.get())));
    };
    write();
    const auto bad =
        std::ranges::find_if(lists_, [](const ListOf& list) { return !list.load_error.empty(); });
    if (bad == lists_.end()) return false;
    const auto credentials = server_.load();
    const std::string error = credentials ? "" : credentials.error().message();
    EXPECT_THAT(error, HasSubstr(std::to_string(bad - lists_.begin()) + ".crl:1: "));
    EXPECT_THAT(error, HasSubstr(bad->load_error)) << description();
    ++unloadable;
    std::erase_if(lists_, [](const ListOf& list) { return !list.load_error.empty(); });
    write();
    return lists_.empty();
  }

  void check(const Credentials& credentials, const Peer& peer) {
    const PeerTrust& earned = earned_trust(peer);
    const HandshakeResult early = credentials.judge(earned, now_).result();
    ChainCache nothing(0);
    const Verified in_full = verify(credentials, peer, nothing, now_);
    const HandshakeResult late = credentials.judge(earned, now_).result();
    ChainCache cache(1);
    const BareStackPtr others = others_of(peer);
    cache.remember(*chain_name(peer.leaf.x509.get(), others.get()),
                   std::make_shared<const PeerTrust>(earned));
    const Verified cached = verify(credentials, peer, cache, now_);

    EXPECT_TRUE(in_full || early != HandshakeResult::kSuccess) << "a ticket after a reload";
    EXPECT_EQ(word(late), word(in_full)) << "a ticket";
    EXPECT_EQ(word(cached), word(in_full)) << "a cached chain";
    if (in_full) EXPECT_EQ(**in_full, earned);

    const bool by_openssl = openssl_accepts(peer);
    if (in_full) EXPECT_TRUE(by_openssl);
    if (by_openssl && has_one_list_of_each_issuer()) EXPECT_TRUE(in_full) << word(in_full);
    (in_full ? passed : refused) += 1;
  }

  bool has_one_list_of_each_issuer() const {
    for (std::size_t issuer = 0; issuer < kAuthorities; ++issuer)
      if (std::ranges::count(lists_, issuer, &ListOf::issuer) > 1) return false;
    return true;
  }

  // OpenSSL knows no certificate without a distribution point in the scope of a list with one.
  bool openssl_accepts(const Peer& peer) const {
    const X509StorePtr store = root_store();
    for (const ListOf& list : lists_) {
      if (list.spec.this_update > 0s) continue;
      const bool with_point = peer.has_point && list.issuer == peer.issuer;
      X509_STORE_add_crl(store.get(), (with_point ? list.whole : list.without_point).get());
    }
    X509_STORE_set_flags(store.get(), X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    const BareStackPtr others = others_of(peer);
    const StoreContextPtr context = context_of(store.get(), peer, others.get());
    X509_STORE_CTX_set_verify_cb(
        context.get(), accept_expired_ ? spare_the_anchor<true> : spare_the_anchor<false>);
    return X509_verify_cert(context.get()) == 1;
  }

  TestServer& server_;
  bool knows_issuing_, knows_mute_, accept_expired_;
  std::vector<ListOf> lists_;
  const sys_seconds now_ = wall_clock_now();
};

class RevocationProperty : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(RevocationProperty, IsTheSameForFullHandshakesTicketsAndCachedChains) {
  TestServer server;
  Random random(GetParam());
  int passed = 0, refused = 0, unloadable = 0;
  for (int i = 0; i < 100 && !HasFailure(); ++i) {
    SCOPED_TRACE("seed " + std::to_string(GetParam()) + ", set " + std::to_string(i));
    Trial trial(server, random);
    trial.run();
    passed += trial.passed;
    refused += trial.refused;
    unloadable += trial.unloadable;
  }
  EXPECT_GT(passed, 50);
  EXPECT_GT(refused, 50);
  EXPECT_GT(unloadable, 10);
}

INSTANTIATE_TEST_SUITE_P(Seeds, RevocationProperty, ::testing::Range<std::uint64_t>(1, 4),
                         [](const auto& seed) { return "Seed" + std::to_string(seed.param); });

}  // namespace
}  // namespace sallyport::ktls::testing
