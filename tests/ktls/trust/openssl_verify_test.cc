// Chains of every make, judged by a handshake and by `openssl verify`: hierarchies at random, with
// seeds that a failure names. Where the two differ, kDifferences says why; nothing else may differ.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ktls/trust/verify_error.h"
#include "ktls/trust/x509_facts.h"
#include "tests/ktls/handshake/loopback.h"
#include "tests/ktls/trust/certificate_builder.h"
#include "tests/support/process.h"
#include "tests/support/random.h"
#include "tests/support/temp_dir.h"

namespace sallyport::ktls::testing {
namespace {

using std::chrono::hours;
using std::chrono::seconds;
using test::Random;
using Certificates = std::vector<X509*>;

enum Kind : std::size_t { kOtherPath, kNoIdentity, kMalformedFirst, kFarther };

struct Difference {
  std::string_view openssl, ours, why;
};
constexpr std::array<Difference, 4> kDifferences{{
    {"refuses", "let in",
     "openssl takes one issuer for each certificate, by name, key identifier and dates, and never "
     "goes back; a handshake tries the others (path_search.h), and openssl accepts the path that "
     "it "
     "finds once it has no other"},
    {"accepts", "certificate_malformed",
     "openssl knows no identities: SPIFFE wants one URI, a certificate that is no authority's, and "
     "a well-formed ID (X.509-SVID 2, 4, 5.2)"},
    {"refuses, another purpose of the leaf", "certificate_malformed",
     "to openssl a leaf without digitalSignature has another purpose; what is wrong with its "
     "identity says more"},
    {"refuses, no path to an anchor", "refuses, for another reason",
     "of several paths a handshake reports one that leads to an anchor, which says more"},
}};

/// Authorities that are cross-signed, renewed, re-keyed, constrained and namesakes of each other,
/// and leaves of theirs. What clients send is the same for all leaves.
class Hierarchy {
 public:
  explicit Hierarchy(std::uint64_t seed) : random_(seed) {
    for (std::size_t i = 1 + random_.below(4); i > 0; --i) add_root();
    for (std::size_t i = random_.below(7); i > 0; --i) add_intermediate();
    for (std::size_t i = 0; i < kLeaves; ++i) add_leaf();
    share_out();
  }

  static constexpr std::size_t kLeaves = 6;
  bool partial_chain = false;
  Certificates trusted, sent, leaves;

  X509* find(const std::string& serial) const {
    for (const X509Ptr& each : all_)
      if (serial_bytes(X509_get0_serialNumber(each.get())) == serial) return each.get();
    return nullptr;
  }

 private:
  struct Authority {
    X509* certificate;
    EVP_PKEY* key;
    bool root;
  };

  static EVP_PKEY* key(std::size_t index) {
    static const std::vector<EvpPkeyPtr> keys = [] {
      std::vector<EvpPkeyPtr> made;
      for (int i = 0; i < 5; ++i) made.emplace_back(EVP_EC_gen("P-256"));
      made.emplace_back(EVP_RSA_gen(1024));
      return made;
    }();
    return keys[index].get();
  }
  static constexpr std::size_t kWeakKey = 5;

  X509* keep(const CertificateSpec& spec) {
    // Decoded once more, as from the wire.
    const X509Ptr made = make_certificate(spec);
    const std::vector<std::byte> der = to_der(made.get());
    const auto* at = reinterpret_cast<const unsigned char*>(der.data());
    all_.emplace_back(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
    return all_.back().get();
  }

  void set_dates(CertificateSpec& spec) {
    if (random_.one_in(7)) spec.not_after = hours(-1);
    if (random_.one_in(25)) spec.not_before = hours(1);
  }

  void set_issuer(CertificateSpec& spec) {
    const Authority& issuer = authorities_[random_.below(authorities_.size())];
    spec.issuer = issuer.certificate;
    spec.signer = random_.one_in(25) ? key(random_.below(4)) : issuer.key;
    if (random_.one_in(40)) spec.digest = EVP_sha1();
    if (X509_get_ext_by_NID(spec.issuer, NID_subject_key_identifier, -1) >= 0 && random_.one_in(2))
      spec.extensions.push_back(
          {"authorityKeyIdentifier", random_.one_in(5) ? "keyid,issuer:always" : "keyid"});
  }

  void add_root() {
    // Renewed: the same name and key once more.
    if (!authorities_.empty() && random_.one_in(3)) {
      const Authority& old = authorities_[random_.below(authorities_.size())];
      add_authority(name_of(old.certificate), old.key, true);
    } else {
      add_authority(random_.one_of({"A", "B", "C"}), key(random_.below(3)), true);
    }
  }
  void add_intermediate() {
    const bool crossed = random_.one_in(3);  // as another authority, by another issuer
    const Authority& other = authorities_[random_.below(authorities_.size())];
    if (crossed) return add_authority(name_of(other.certificate), other.key, false);
    add_authority(random_.one_of({"A", "I", "J"}),
                  key(random_.one_in(20) ? kWeakKey : random_.below(5)), false);
  }
  static std::string name_of(const X509* certificate) {
    return name_text(X509_get_subject_name(certificate)).substr(3);  // behind "CN="
  }

  void add_authority(const std::string& name, EVP_PKEY* own, bool root) {
    CertificateSpec spec{.subject = name, .key = own};
    set_dates(spec);
    spec.signer = own;
    if (root && random_.one_in(15)) {
      spec.version = X509_VERSION_1;
    } else {
      add_constraints(spec);
      if (!root) set_issuer(spec);
    }
    authorities_.push_back({keep(spec), own, root});
  }

  void add_constraints(CertificateSpec& spec) {
    auto& extensions = spec.extensions;
    std::string constraints = random_.one_in(25) ? "critical,CA:FALSE" : "critical,CA:TRUE";
    if (constraints.ends_with("TRUE") && random_.one_in(5))
      constraints += ",pathlen:" + std::to_string(random_.below(3));
    if (!random_.one_in(30)) extensions.push_back({"basicConstraints", constraints});
    if (!random_.one_in(3))
      extensions.push_back(
          {"keyUsage", random_.one_of({"critical,keyCertSign", "critical,keyCertSign",
                                       "critical,keyCertSign,cRLSign", "critical,cRLSign"})});
    if (random_.one_in(7))
      extensions.push_back(
          {"nameConstraints",
           random_.one_of({"critical,permitted;DNS:a.test", "critical,excluded;DNS:a.test",
                           "critical,permitted;URI:a.test", "critical,excluded;URI:.b.test",
                           "critical,permitted;email:a.test", "permitted;DNS:.a.test",
                           "critical,permitted;IP:10.0.0.0/255.0.0.0"})});
    if (random_.one_in(8))
      extensions.push_back(
          {"extendedKeyUsage",
           random_.one_of({"serverAuth", "clientAuth", "clientAuth,serverAuth", "codeSigning",
                           "anyExtendedKeyUsage", "critical,clientAuth"})});
    if (random_.one_in(40)) extensions.push_back({"1.2.3.4.5", "critical,DER:0500"});
    if (!random_.one_in(3)) extensions.push_back({"subjectKeyIdentifier", "hash"});
  }

  void add_leaf() {
    CertificateSpec spec{.subject = "leaf", .key = key(random_.one_in(30) ? kWeakKey : 0)};
    auto& extensions = spec.extensions;
    if (!random_.one_in(6))
      extensions.push_back(
          {"basicConstraints", random_.one_in(15) ? "critical,CA:TRUE" : "critical,CA:FALSE"});
    if (!random_.one_in(4))
      extensions.push_back(
          {"keyUsage", random_.one_in(12)
                           ? random_.one_of({"critical,keyEncipherment", "critical,keyAgreement",
                                             "critical,digitalSignature,keyCertSign"})
                           : "critical,digitalSignature"});
    if (random_.one_in(2))
      extensions.push_back(
          {"extendedKeyUsage",
           random_.one_in(8) ? random_.one_of({"serverAuth", "codeSigning", "anyExtendedKeyUsage"})
                             : "clientAuth"});
    extensions.push_back(
        {"subjectAltName",
         random_.one_of({"DNS:x.a.test", "DNS:x.b.test", "DNS:*.a.test", "email:x@a.test",
                         "URI:spiffe://a.test/x", "URI:spiffe://x.b.test/x", "IP:10.1.1.1",
                         "DNS:x.a.test,URI:spiffe://a.test/x",
                         "URI:spiffe://a.test/x,URI:spiffe://a.test/y", "URI:spiffe://a.test"})});
    if (random_.one_in(40)) extensions.push_back({"1.2.3.4.5", "critical,DER:0500"});
    if (random_.one_in(15)) spec.not_after = hours(-1);
    if (random_.one_in(30)) spec.not_before = hours(1);
    if (random_.one_in(25)) {  // of itself
      spec.signer = spec.key;
    } else {
      set_issuer(spec);
    }
    leaves.push_back(keep(spec));
  }

  // At least one root is trusted: without any, credentials do not load.
  void share_out() {
    partial_chain = random_.one_in(5);
    bool anchored = false;
    for (const Authority& each : authorities_) {
      const bool genuine = X509_self_signed(each.certificate, 1) == 1;
      // Which credentials refuse to load.
      const bool pretends = X509_self_signed(each.certificate, 0) == 1 && !genuine;
      const bool in_bundle =
          genuine ? !anchored || !random_.one_in(3) : !pretends && random_.one_in(5);
      if (in_bundle) trusted.push_back(each.certificate);
      anchored = anchored || (in_bundle && genuine);
      if ((!in_bundle && !random_.one_in(8)) || random_.one_in(6)) sent.push_back(each.certificate);
    }
    random_.shuffle(trusted);
    random_.shuffle(sent);
    if (!sent.empty() && random_.one_in(5)) sent.push_back(sent.front());  // twice
    constexpr std::size_t kMost = 9;
    if (sent.size() > kMost) sent.resize(kMost);
  }

  Random random_;
  std::vector<X509Ptr> all_;
  std::vector<Authority> authorities_;
};

/// A chain, and what became of it.
struct Case {
  std::string name;
  const Hierarchy* hierarchy = nullptr;
  X509* leaf = nullptr;
  Certificates sent;
  std::expected<std::shared_ptr<const PeerTrust>, RefusedCertificates> ours;
  int openssl = -1;  ///< X509_V_*
  std::string said;

  std::string word() const {
    return std::string(to_string(ours ? HandshakeResult::kSuccess : ours.error().failure.result));
  }
};

std::string pem_of(const Certificates& certificates) {
  std::string pem;
  for (X509* const each : certificates) pem += test::to_pem(each);
  return pem;
}

class OpensslVerify : public ::testing::Test {
 protected:
  void judge(const Hierarchy& hierarchy, const std::string& name, const Certificates& sent) {
    server_.files.ca = {{std::nullopt, server_.dir.write("ca.pem", pem_of(hierarchy.trusted))}};
    server_.settings.partial_chain = hierarchy.partial_chain;
    const auto context = server_.context();
    ASSERT_TRUE(context);
    for (std::size_t i = 0; i < hierarchy.leaves.size(); ++i) {
      std::vector<std::vector<std::byte>> ders{to_der(hierarchy.leaves[i])};
      for (X509* const each : sent) ders.push_back(to_der(each));
      cases_.push_back({.name = name + ".leaf" + std::to_string(i),
                        .hierarchy = &hierarchy,
                        .leaf = hierarchy.leaves[i],
                        .sent = sent,
                        .ours = context->verify_client(ders),
                        .said = {}});
    }
  }

  // One process for all leaves of a chain.
  void ask_openssl() {
    std::string script;
    for (std::size_t i = 0; i < cases_.size(); i += Hierarchy::kLeaves) {
      std::vector<std::string> leaves;
      for (std::size_t j = i; j < i + Hierarchy::kLeaves; ++j)
        leaves.push_back(dir_.write(std::to_string(j) + ".pem", test::to_pem(cases_[j].leaf)));
      script += command(*cases_[i].hierarchy, cases_[i].hierarchy->trusted, cases_[i].sent, leaves);
    }
    const test::Finished finished = test::run({"sh"}, script);
    // "FILE: OK", or errors and "error FILE: verification failed", by file in any order.
    std::istringstream lines(finished.out);
    std::size_t judged = 0;
    std::string said;
    for (std::string line; std::getline(lines, line);) {
      const bool good = line.ends_with(".pem: OK");
      const bool bad = line.ends_with(".pem: verification failed");
      if (!good) said += line + "\n";
      if (!good && !bad) continue;
      Case& of = cases_.at(std::stoul(line.substr(line.rfind('/') + 1)));
      of.openssl = good ? X509_V_OK : error_of(said);
      of.said = good ? line : std::exchange(said, "");
      ++judged;
    }
    ASSERT_EQ(judged, cases_.size()) << finished.out << finished.err;
  }

  // The path that a handshake has found, and nothing else.
  bool openssl_accepts_path_of(const Case& given) {
    const PeerTrust& trust = **given.ours;
    Certificates between, anchors;
    for (std::size_t i = 1; i < trust.links.size(); ++i)
      between.push_back(given.hierarchy->find(trust.links[i].serial));
    for (X509* const each : given.hierarchy->trusted)
      if (public_key_hash(each) == trust.anchor_key &&
          name_hash(X509_get_subject_name(each)) == trust.anchor_name)
        anchors.push_back(each);
    const std::string leaf = dir_.write("alone.pem", test::to_pem(given.leaf));
    return std::ranges::any_of(anchors, [&](X509* anchor) {
      const test::Finished finished =
          test::run({"sh"}, command(*given.hierarchy, {anchor}, between, {leaf}));
      return finished.out.ends_with("alone.pem: OK\n");
    });
  }

  std::vector<Case> cases_;
  TestServer server_;
  test::TempDir dir_;

 private:
  std::string command(const Hierarchy& hierarchy, const Certificates& trusted,
                      const Certificates& sent, const std::vector<std::string>& leaves) {
    const std::string number = std::to_string(files_++);
    std::string text = "openssl verify -no-CApath -no-CAstore -purpose sslclient -verify_depth " +
                       std::to_string(kMaxIntermediates) + " -auth_level " +
                       std::to_string(kSecurityLevel) + " -CAfile " +
                       dir_.write(number + ".ca", pem_of(trusted)).string();
    if (!sent.empty()) text += " -untrusted " + dir_.write(number + ".sent", pem_of(sent)).string();
    if (hierarchy.partial_chain) text += " -partial_chain";
    for (const std::string& leaf : leaves) text += " " + leaf;
    return text + " 2>&1\n";
  }

  // Of "error 20 at 0 depth lookup: unable to get local issuer certificate", the first one.
  static int error_of(const std::string& said) {
    const std::size_t at = said.find("error ");
    return at == std::string::npos ? -1 : std::stoi(said.substr(at + 6));
  }

  int files_ = 0;
};

TEST_F(OpensslVerify, DiffersFromAHandshakeWhereTheTableSaysSo) {
  std::vector<std::unique_ptr<Hierarchy>> hierarchies;
  for (std::uint64_t seed = 0; seed < 110; ++seed) {
    const std::string name = "seed " + std::to_string(seed);
    const Hierarchy& hierarchy = *hierarchies.emplace_back(std::make_unique<Hierarchy>(seed));
    ASSERT_NO_FATAL_FAILURE(judge(hierarchy, name, hierarchy.sent));
    // Every order, of some.
    Certificates sent = hierarchy.sent;
    if (seed % 4 != 0 || sent.size() < 2 || sent.size() > 3) continue;
    std::ranges::sort(sent);
    do {
      ASSERT_NO_FATAL_FAILURE(judge(hierarchy, name + " in another order", sent));
    } while (std::ranges::next_permutation(sent).found);
  }
  ASSERT_NO_FATAL_FAILURE(ask_openssl());

  std::map<std::size_t, int> differences;
  int good = 0;
  for (const Case& each : cases_) {
    const bool by_openssl = each.openssl == X509_V_OK;
    std::optional<Kind> kind;
    if (each.ours && by_openssl) {
      ++good;
      continue;
    }
    if (each.ours) {
      if (openssl_accepts_path_of(each)) kind = kOtherPath;
    } else if (by_openssl) {
      if (each.word() == "certificate_malformed") kind = kNoIdentity;
    } else {
      const HandshakeResult openssl = result_of_verify_error(each.openssl);
      if (each.word() == to_string(openssl)) continue;
      if (openssl == HandshakeResult::kCertificateAuthorityInvalid) kind = kFarther;
      if (openssl == HandshakeResult::kCertificatePurposeInvalid &&
          each.word() == "certificate_malformed")
        kind = kMalformedFirst;
    }
    if (kind) ++differences[*kind];
    EXPECT_TRUE(kind) << each.name << ": a handshake says " << each.word() << " ("
                      << (each.ours ? "" : each.ours.error().failure.detail)
                      << "), openssl: " << each.said << "trusted:\n"
                      << pem_of(each.hierarchy->trusted) << "leaf and sent:\n"
                      << test::to_pem(each.leaf) << pem_of(each.sent);
  }
  EXPECT_GT(good, 150);
  EXPECT_GT(std::ssize(cases_), 3 * good / 2) << "there is much to refuse";
  for (std::size_t i = 0; i < kDifferences.size(); ++i)
    EXPECT_GT(differences[i], 0) << "openssl " << kDifferences[i].openssl << ": nowhere seen";
}

}  // namespace
}  // namespace sallyport::ktls::testing
