// The cache of verified chains against slow, obvious references: at random, with fixed seeds that a
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
#include "ktls/trust/x509_facts.h"
#include "tests/ktls/handshake/loopback.h"
#include "tests/support/random.h"

namespace sallyport::ktls {
namespace {

using test::Random;
using namespace std::chrono_literals;
using std::chrono::sys_seconds;
using test::TestAuthority;
using testing::TestServer;

using Trust = std::shared_ptr<const PeerTrust>;

/// What the cache promises, as a list that is searched from its front.
class SlowCache {
 public:
  explicit SlowCache(std::size_t capacity) : capacity_(capacity) {}

  Trust find(std::size_t chain) {
    const auto found = std::ranges::find(known_, chain, &Entry::chain);
    if (found == known_.end()) return nullptr;
    const Entry entry = *found;
    known_.erase(found);
    known_.insert(known_.begin(), entry);
    return entry.trust;
  }
  void remember(std::size_t chain, const Trust& trust) {
    if (std::ranges::count(known_, chain, &Entry::chain) > 0) return;
    known_.insert(known_.begin(), {.chain = chain, .trust = trust});
    if (known_.size() > capacity_) known_.pop_back();
  }
  std::size_t size() const { return known_.size(); }

 private:
  struct Entry {
    std::size_t chain = 0;
    Trust trust;
  };
  std::size_t capacity_;
  std::vector<Entry> known_;  // latest use first
};

class ChainCacheProperty : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(ChainCacheProperty, HoldsTheChainsThatTheReferenceHolds) {
  constexpr std::size_t kNames = 24;
  Random random(GetParam());
  std::vector<ChainName> names(kNames);
  for (ChainName& name : names)
    for (std::uint8_t& byte : name) byte = static_cast<std::uint8_t>(random.up_to(255));
  // Names that are told apart by their last byte alone: the hash looks at the first ones.
  for (std::size_t i = 1; i < kNames; i += 2) {
    names[i] = names[i - 1];
    names[i].back() ^= 1;
  }

  std::size_t capacity = 0;
  std::optional<ChainCache> cache;
  std::optional<SlowCache> reference;
  for (int step = 0; step < 20000; ++step) {
    SCOPED_TRACE("seed " + std::to_string(GetParam()) + ", step " + std::to_string(step));
    if (!cache || random.one_in(2000)) {  // another generation of trust
      capacity = random.up_to(kNames + 2);
      cache.emplace(capacity);
      reference.emplace(capacity);
    }
    const std::size_t chain = random.up_to(kNames - 1);
    if (random.one_in(2)) {
      const auto trust = std::make_shared<const PeerTrust>();
      cache->remember(names[chain], trust);
      reference->remember(chain, trust);
    } else {
      ASSERT_EQ(cache->find(names[chain]), reference->find(chain));
    }
    ASSERT_EQ(cache->size(), reference->size());
    ASSERT_LE(cache->size(), capacity);
  }
}

enum Authority : std::size_t { kFirstRoot, kIntermediate, kSecondRoot, kAuthorities };

/// A chain as a peer sends it, and what is true of it whatever is in a cache.
struct Chain {
  const X509* leaf = nullptr;
  std::vector<const X509*> others;
  Authority root = kFirstRoot;
  std::vector<Authority> issuers;      // of each certificate below the root
  std::vector<std::uint64_t> serials;  // of the same
  sys_seconds not_after;               // the earliest
};

/// Authorities and chains, made once for all seeds.
class Mesh {
 public:
  Mesh() {
    for (int i = 0; i < 5; ++i) {
      add(kFirstRoot, i);
      add(kIntermediate, i);
      add(kSecondRoot, i);
    }
    // The same peers with their root behind the rest: other bytes, so another chain.
    for (std::size_t i = 0; i < 6; ++i) {
      Chain longer = chains[i];
      longer.others.push_back(authorities[longer.root].certificate().x509.get());
      chains.push_back(std::move(longer));
    }
  }

  const TestAuthority first{"First Root"};
  const TestAuthority authorities[kAuthorities] = {first, first.intermediate(),
                                                   TestAuthority("Second Root")};
  std::vector<Chain> chains;

 private:
  void add(Authority issuer, int hours) {
    const TestAuthority& authority = authorities[issuer];
    const test::TestCertificate& leaf = leaves_.emplace_back(
        authority.issue({.spiffe = {"spiffe://example.org/" + std::to_string(chains.size())},
                         .not_after = 1h + hours * 90min}));
    Chain chain;
    chain.leaf = leaf.x509.get();
    chain.root = issuer == kSecondRoot ? kSecondRoot : kFirstRoot;
    chain.issuers = {issuer};
    chain.serials = {leaf.serial};
    chain.not_after = to_time(X509_get0_notAfter(leaf.x509.get()));
    if (issuer == kIntermediate) {
      const test::TestCertificate& own = authority.certificate();
      chain.others = {own.x509.get()};
      chain.issuers.push_back(kFirstRoot);
      chain.serials.push_back(own.serial);
      chain.not_after = std::min(chain.not_after, to_time(X509_get0_notAfter(own.x509.get())));
    }
    chains.push_back(std::move(chain));
  }

  std::vector<test::TestCertificate> leaves_;
};

const Mesh& mesh() {
  static const Mesh once;
  return once;
}

/// Credentials with a cache of their own, and what is true of them.
struct Generation {
  std::shared_ptr<const Credentials> credentials;
  X509StorePtr store;
  bool trusted[kAuthorities] = {};
  bool with_crls = false;
  std::optional<sys_seconds> next_update[kAuthorities];  // none: no list of this one
  std::vector<std::uint64_t> revoked[kAuthorities];
  ChainCache cache;
  SlowCache reference;

  explicit Generation(std::size_t capacity) : cache(capacity), reference(capacity) {}

  bool lets_in(const Chain& chain, sys_seconds now) const {
    if (!trusted[chain.root] || now >= chain.not_after) return false;
    if (!with_crls) return true;
    for (std::size_t i = 0; i < chain.issuers.size(); ++i) {
      const Authority issuer = chain.issuers[i];
      if (!next_update[issuer] || now >= *next_update[issuer]) return false;
      if (std::ranges::count(revoked[issuer], chain.serials[i]) > 0) return false;
    }
    return true;
  }
};

/// Presents chains to generations, by way of their caches and without.
class RandomPeers {
 public:
  explicit RandomPeers(std::uint64_t seed) : random_(seed) { next_generation(); }

  void step() {
    if (random_.one_in(60)) next_generation();
    const std::size_t index = random_.up_to(mesh().chains.size() - 1);
    const Chain& chain = mesh().chains[index];
    const sys_seconds now = some_time(chain);
    const Trust known = generation_->reference.find(index);

    const auto found = verify(chain, generation_->cache, now);
    ChainCache nothing(0);
    const auto in_full = verify(chain, nothing, now);

    ASSERT_EQ(found.has_value(), generation_->lets_in(chain, now)) << word(found);
    ASSERT_EQ(word(found), word(in_full));
    if (found) {
      EXPECT_EQ(**found, **in_full);
      if (known) EXPECT_EQ(*found, known) << "verified once more";
      generation_->reference.remember(index, *found);
      (known ? known_ : unknown_) += 1;
    } else {
      (known ? known_refused_ : refused_) += 1;
    }
    EXPECT_EQ(generation_->cache.size(), generation_->reference.size());
  }

  /// That the random choices reach all that is to be compared.
  void expect_all_seen() const {
    EXPECT_GT(known_, 20);
    EXPECT_GT(unknown_, 20);
    EXPECT_GT(known_refused_, 20) << "known chains that have expired, or whose lists have";
    EXPECT_GT(refused_, 20);
  }

 private:
  using Verified = std::expected<Trust, HandshakeFailure>;

  static std::string word(const Verified& verified) {
    return std::string(to_string(verified ? HandshakeResult::kSuccess : verified.error().result));
  }

  void next_generation() {
    generation_.emplace(random_.up_to(20));
    TestServer server;
    std::string bundle;
    generation_->store.reset(X509_STORE_new());
    const std::uint64_t roots = random_.up_to(3);
    for (const Authority root : {kFirstRoot, kSecondRoot}) {
      if (roots == static_cast<std::uint64_t>(root == kFirstRoot ? 1 : 2)) continue;
      generation_->trusted[root] = true;
      bundle += mesh().authorities[root].cert_pem();
      X509_STORE_add_cert(generation_->store.get(),
                          mesh().authorities[root].certificate().x509.get());
    }
    server.files.ca = {{std::nullopt, server.dir.write("ca.pem", bundle)}};
    generation_->with_crls = random_.one_in(2);
    std::vector<Authority> listed;
    if (generation_->with_crls) listed = add_crls(server);

    const auto credentials = server.load();
    ASSERT_TRUE(credentials) << credentials.error().message();
    generation_->credentials = *credentials;
    for (std::size_t i = 0; i < listed.size(); ++i)
      generation_->next_update[listed[i]] = (*credentials)->crls()[i].next_update;
    began_ = wall_clock_now();
  }

  // Whose lists there are, in the order of the files.
  std::vector<Authority> add_crls(TestServer& server) {
    std::vector<Authority> listed;
    for (const Authority issuer : {kFirstRoot, kIntermediate, kSecondRoot}) {
      if (!listed.empty() && random_.one_in(8)) continue;
      for (const Chain& chain : mesh().chains)
        for (std::size_t i = 0; i < chain.issuers.size(); ++i)
          if (chain.issuers[i] == issuer && random_.one_in(i == 0 ? 6 : 60))
            generation_->revoked[issuer].push_back(chain.serials[i]);
      const std::string pem = mesh().authorities[issuer].crl(
          generation_->revoked[issuer], 1h + static_cast<int>(random_.up_to(9)) * 1h);
      server.files.crls.push_back(server.dir.write(std::to_string(issuer) + ".crl", pem));
      listed.push_back(issuer);
    }
    return listed;
  }

  // Often just before or at the end of something. The clock may go back, as clocks do.
  sys_seconds some_time(const Chain& chain) {
    const auto at_the_end = [this](sys_seconds end) {
      return std::max(began_, end + std::chrono::seconds(random_.up_to(2)) - 1s);
    };
    const auto& next_update = generation_->next_update[chain.issuers[0]];
    if (random_.one_in(8)) return at_the_end(chain.not_after);
    if (random_.one_in(8) && next_update) return at_the_end(*next_update);
    return began_ + std::chrono::seconds(random_.up_to(random_.one_in(3) ? 36000 : 3600));
  }

  Verified verify(const Chain& chain, ChainCache& cache, sys_seconds now) {
    STACK_OF(X509)* const others = sk_X509_new_null();
    for (const X509* each : chain.others) sk_X509_push(others, const_cast<X509*>(each));
    X509_STORE_CTX* const context = X509_STORE_CTX_new();
    X509_STORE_CTX_init(context, generation_->store.get(), const_cast<X509*>(chain.leaf), others);
    X509_STORE_CTX_set_default(context, "ssl_client");
    Verified verified = verify_chain(context, *generation_->credentials, cache, now, Role::kClient);
    X509_STORE_CTX_free(context);
    sk_X509_free(others);
    return verified;
  }

  Random random_;
  std::optional<Generation> generation_;
  sys_seconds began_;
  int known_ = 0, unknown_ = 0, known_refused_ = 0, refused_ = 0;
};

TEST_P(ChainCacheProperty, ChangesNoVerdict) {
  RandomPeers peers(GetParam());
  for (int step = 0; step < 800 && !HasFailure(); ++step) {
    SCOPED_TRACE("seed " + std::to_string(GetParam()) + ", step " + std::to_string(step));
    peers.step();
  }
  peers.expect_all_seen();
}

INSTANTIATE_TEST_SUITE_P(Seeds, ChainCacheProperty, ::testing::Range<std::uint64_t>(1, 7),
                         [](const auto& seed) { return "Seed" + std::to_string(seed.param); });

}  // namespace
}  // namespace sallyport::ktls
