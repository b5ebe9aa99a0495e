// Dates at the edges of what certificates and lists can say (RFC 5280 4.1.2.5), to the second.
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "ktls/base/time_text.h"
#include "ktls/trust/x509_facts.h"
#include "tests/ktls/handshake/loopback.h"
#include "tests/ktls/trust/certificate_builder.h"
#include "tests/ktls/trust/crl_builder.h"

namespace sallyport::ktls::testing {
namespace {

using namespace std::chrono;
using test::TestCertificate;

// The years from 1950 to 2049 are UTCTime, others GeneralizedTime.
constexpr const char* kFirstOfUtc = "500101000000Z";
constexpr const char* kLastOfUtc = "491231235959Z";
constexpr const char* kFirstOfGeneralized = "20500101000000Z";
constexpr const char* kNoEnd = "99991231235959Z";
constexpr sys_seconds kFirstOfUtcAt = sys_days(1950y / 1 / 1);
constexpr sys_seconds kFirstOfGeneralizedAt = sys_days(2050y / 1 / 1);
constexpr sys_seconds kLastOfUtcAt = kFirstOfGeneralizedAt - 1s;
constexpr sys_seconds kNoEndAt = sys_days(9999y / 12 / 31) + 23h + 59min + 59s;

struct Edge {
  const char* not_before;
  const char* not_after;
  sys_seconds begins, ends;
};
const std::vector<Edge> kEdges{
    {kFirstOfUtc, kLastOfUtc, kFirstOfUtcAt, kLastOfUtcAt},
    {kFirstOfUtc, kFirstOfGeneralized, kFirstOfUtcAt, kFirstOfGeneralizedAt},
    {kFirstOfUtc, kNoEnd, kFirstOfUtcAt, kNoEndAt},
    {"19491231235959Z", kNoEnd, kFirstOfUtcAt - 1s, kNoEndAt},
    {kLastOfUtc, kFirstOfGeneralized, kLastOfUtcAt, kFirstOfGeneralizedAt},  // of one second
    {kFirstOfGeneralized, kNoEnd, kFirstOfGeneralizedAt, kNoEndAt},
    {"00000101000000Z", kNoEnd, sys_days(0y / 1 / 1), kNoEndAt},
};
// Of which no moment is within.
const std::vector<Edge> kEmpty{
    {kNoEnd, kFirstOfUtc, kNoEndAt, kFirstOfUtcAt},
    {kFirstOfGeneralized, kLastOfUtc, kFirstOfGeneralizedAt, kLastOfUtcAt},
    {kLastOfUtc, kLastOfUtc, kLastOfUtcAt, kLastOfUtcAt},
};

class EdgeDates : public ::testing::Test {
 protected:
  EdgeDates() : key_(test::make_key(test::KeyType::kEcdsaP256)), root_(anchor(kFirst, kNoEnd)) {}

  static constexpr const char* kFirst = "00000101000000Z";

  X509Ptr anchor(const char* not_before, const char* not_after) const {
    return make_certificate({.subject = "Root",
                             .key = key_.get(),
                             .signer = key_.get(),
                             .extensions = {{"basicConstraints", "critical,CA:TRUE"}},
                             .not_before_text = not_before,
                             .not_after_text = not_after});
  }
  X509Ptr leaf(const char* not_before, const char* not_after) const {
    return make_certificate({.subject = "leaf",
                             .key = key_.get(),
                             .issuer = root_.get(),
                             .signer = key_.get(),
                             .extensions = {{"subjectAltName", "DNS:leaf.test"}},
                             .not_before_text = not_before,
                             .not_after_text = not_after});
  }
  std::shared_ptr<ServerContext> context(X509* root) {
    pki_.files.ca = {{std::nullopt, pki_.dir.write("edge.pem", test::to_pem(root))}};
    const auto loaded = pki_.load();
    EXPECT_TRUE(loaded) << loaded.error().message();
    return ServerContext::create(*loaded, "edge", [] { return now_; }).value();
  }

  static std::string verdict(const ServerContext& context, const X509* certificate,
                             sys_seconds now) {
    now_ = now;
    const auto verified = context.verify_client({{to_der(certificate)}});
    return std::string(
        to_string(verified ? HandshakeResult::kSuccess : verified.error().failure.result));
  }
  static std::string judged(const ServerContext& context, const PeerTrust& trust, sys_seconds now) {
    return std::string(to_string(context.credentials().judge(trust, now).result()));
  }
  // Of what was let in within the dates.
  PeerTrust trust_of(const ServerContext& context, const X509* certificate, sys_seconds now) {
    now_ = now;
    const auto verified = context.verify_client({{to_der(certificate)}});
    EXPECT_TRUE(verified) << verified.error().failure.detail;
    return verified ? *PeerTrust::parse((*verified)->serialise()) : PeerTrust{};
  }

  inline static sys_seconds now_;  // of the contexts
  TestServer pki_;
  std::shared_ptr<EVP_PKEY> key_;
  X509Ptr root_;
};

TEST_F(EdgeDates, OfALeafBeginAndEndAtTheirSeconds) {
  const auto under = context(root_.get());
  for (const Edge& edge : kEdges) {
    SCOPED_TRACE(std::string(edge.not_before) + " to " + edge.not_after);
    const X509Ptr certificate = leaf(edge.not_before, edge.not_after);
    if (edge.begins > kEdges.back().begins)
      EXPECT_EQ(verdict(*under, certificate.get(), edge.begins - 1s), "certificate_not_yet_valid");
    EXPECT_EQ(verdict(*under, certificate.get(), edge.begins), "success");
    EXPECT_EQ(verdict(*under, certificate.get(), edge.ends - 1s), "success");
    const PeerTrust trust = trust_of(*under, certificate.get(), edge.ends - 1s);
    EXPECT_EQ(trust.not_after, edge.ends);
    EXPECT_EQ(trust.leaf.not_before, edge.begins);
    EXPECT_EQ(judged(*under, trust, edge.ends - 1s), "success");
    EXPECT_EQ(judged(*under, trust, edge.ends), "certificate_expired");
    // The anchor ends with the last of all dates, and is judged first.
    if (edge.ends == kNoEndAt) continue;
    EXPECT_EQ(verdict(*under, certificate.get(), edge.ends), "certificate_expired");
  }
}

TEST_F(EdgeDates, OfALeafMayHoldNoMoment) {
  const auto under = context(root_.get());
  for (const Edge& edge : kEmpty) {
    SCOPED_TRACE(std::string(edge.not_before) + " to " + edge.not_after);
    const X509Ptr certificate = leaf(edge.not_before, edge.not_after);
    for (const sys_seconds now : {edge.begins, edge.ends, wall_clock_now()})
      for (const seconds near : {-1s, 0s, 1s}) {
        if (now + near >= kNoEndAt) continue;  // of the anchor
        const std::string expected =
            now + near < edge.begins ? "certificate_not_yet_valid" : "certificate_expired";
        EXPECT_EQ(verdict(*under, certificate.get(), now + near), expected)
            << time_text(now + near);
      }
  }
}

TEST_F(EdgeDates, OfAnAnchorBeginAndEndAtTheirSeconds) {
  const X509Ptr certificate = leaf(kFirst, kNoEnd);
  const PeerTrust trust = trust_of(*context(root_.get()), certificate.get(), wall_clock_now());
  for (const Edge& edge : kEdges) {
    SCOPED_TRACE(std::string(edge.not_before) + " to " + edge.not_after);
    const auto under = context(anchor(edge.not_before, edge.not_after).get());
    for (const sys_seconds now : {edge.begins, edge.ends - 1s}) {
      EXPECT_EQ(verdict(*under, certificate.get(), now), "success");
      EXPECT_EQ(judged(*under, trust, now), "success");
    }
    if (edge.begins > kEdges.back().begins) {
      EXPECT_EQ(verdict(*under, certificate.get(), edge.begins - 1s), "certificate_not_yet_valid");
      EXPECT_EQ(judged(*under, trust, edge.begins - 1s), "certificate_not_yet_valid");
    }
    EXPECT_EQ(verdict(*under, certificate.get(), edge.ends), "certificate_expired");
    EXPECT_EQ(judged(*under, trust, edge.ends), "certificate_expired");
  }
  for (const Edge& edge : kEmpty) {
    SCOPED_TRACE(std::string(edge.not_before) + " to " + edge.not_after);
    const auto under = context(anchor(edge.not_before, edge.not_after).get());
    for (const sys_seconds now : {edge.begins - 1s, edge.ends, wall_clock_now()})
      EXPECT_EQ(judged(*under, trust, now),
                now < edge.begins ? "certificate_not_yet_valid" : "certificate_expired")
          << time_text(now);
  }
}

TEST_F(EdgeDates, OfAListBeginAndEndAtTheirSeconds) {
  const X509Ptr certificate = leaf(kFirst, kNoEnd);
  const PeerTrust trust = trust_of(*context(root_.get()), certificate.get(), wall_clock_now());
  TestCertificate issuer;
  issuer.x509 = {X509_dup(root_.get()), X509_free};
  issuer.key = key_;
  for (const Edge& edge : kEdges) {
    SCOPED_TRACE(std::string(edge.not_before) + " to " + edge.not_after);
    pki_.files.crls = {
        pki_.dir.write("edge.crl", to_pem(make_crl(issuer, {.this_update_text = edge.not_before,
                                                            .next_update_text = edge.not_after})
                                              .get()))};
    const auto under = context(root_.get());
    const CrlFact& fact = under->credentials().crls().at(0);
    EXPECT_EQ(fact.this_update, edge.begins);
    EXPECT_EQ(fact.next_update, edge.ends);
    EXPECT_EQ(under->credentials().crl_next_updates().at(0).at, edge.ends);
    for (const sys_seconds now : {edge.begins, edge.ends - 1s}) {
      EXPECT_EQ(verdict(*under, certificate.get(), now), "success");
      EXPECT_EQ(judged(*under, trust, now), "success");
    }
    if (edge.begins > kEdges.back().begins) {
      EXPECT_EQ(verdict(*under, certificate.get(), edge.begins - 1s), "crl_unavailable");
      EXPECT_EQ(judged(*under, trust, edge.begins - 1s), "crl_unavailable");
    }
    EXPECT_EQ(to_string(under->credentials().judge(trust, edge.ends).revocation), "crl_expired");
    if (edge.ends != kNoEndAt)
      EXPECT_EQ(verdict(*under, certificate.get(), edge.ends), "crl_expired");
  }
}

}  // namespace
}  // namespace sallyport::ktls::testing
