// What every scenario has: a throwaway mesh of one CA, a gateway certificate and an allowed client,
// and the gateway as a process whose end is judged.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/support/backend.h"
#include "tests/support/gateway.h"
#include "tests/support/pki.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tls_client.h"
#include "tests/support/wait.h"

namespace sallyport::test {

inline constexpr char kWeb[] = "spiffe://example.org/ns/shop/sa/web";

// TLS alerts, RFC 8446 6.
inline constexpr int kUnexpectedMessage = 10, kBadRecordMac = 20, kRecordOverflow = 22,
                     kHandshakeFailure = 40, kBadCertificate = 42, kUnsupportedCertificate = 43,
                     kCertificateRevoked = 44, kCertificateExpired = 45, kIllegalParameter = 47,
                     kUnknownCa = 48, kAccessDenied = 49, kDecodeError = 50, kProtocolVersion = 70,
                     kInternalError = 80, kUnrecognizedName = 112, kCertificateRequired = 116,
                     kNoApplicationProtocol = 120;

class Scenario : public ::testing::Test {
 protected:
  /// The flags that the test does not give itself: listener, admin, certificate, CA, discovery,
  /// `--allow spiffe://example.org/**`.
  std::vector<std::string> flags(std::vector<std::string> given = {});

  /// Writes the discovery file: one route, "orders", with these targets.
  void discover(const std::vector<std::string>& targets);
  void discover(const std::vector<DiscoveryGroup>& groups);
  /// Starts the gateway; a discovery file must be there.
  Gateway& start(const std::vector<std::string>& given = {});
  /// discover() and start() in one: the shape of most scenarios.
  Gateway& start_for(const Backend& backend, const std::vector<std::string>& given = {});

  /// The allowed client, or another certificate; trusts the mesh.
  ClientOptions as(const TestCertificate& certificate) const;
  TlsClient connect() const { return connect(as(client)); }
  TlsClient connect(ClientOptions options) const {
    return TlsClient(gateway->address(), std::move(options));
  }
  /// A connection of its own that is served: echoes and ends in order.
  ::testing::AssertionResult served(ClientOptions options) const;
  ::testing::AssertionResult served() const { return served(as(client)); }
  /// The gateway's first connection: a megabyte each way under this version and suite, and an end
  /// in order, as the client, the metrics and the log have it, whose line is returned.
  LogLine expect_megabyte_each_way(ClientOptions options, const std::string& version,
                                   const std::string& cipher);
  /// Refused: the client gets this alert, log and metrics have this word.
  void expect_refused(ClientOptions options, const std::string& word, int alert);
  /// Authenticated, authorised and routed, so a success of the handshake; but then ended for this
  /// reason, with this alert.
  void expect_ended(ClientOptions options, const std::string& reason, int alert);

  /// Where the records of connections that are let in are made: "kernel" where it can and was asked
  /// to, else "userspace".
  std::string records_model() const;

  /// A KeyUpdate of the client can be followed: not where an older kernel makes the records.
  bool follows_key_updates() const;

  void expect_end(ClientOptions options, const std::string& result, const std::string& reason,
                  int alert);

  /// Counts of config_reloads_total so far.
  double reloads(const std::string& result, const std::string& source = "") const;
  /// Waits until more than `before` reloads ended so and every shard has the outcome.
  void wait_reload(const std::string& result, double before, const std::string& source = "") const;

  /// Waits until no connection is left, stops the gateway and judges its end.
  void TearDown() override;
  void finish();

  TempDir dir;
  TestAuthority root{"Mesh Root"};
  TestCertificate server =
      root.issue({.cn = "gateway", .dns = {"orders.example.org", "billing.example.org"}});
  TestCertificate client = root.issue({.cn = "web", .spiffe = {kWeb}});
  std::unique_ptr<Gateway> gateway;
};

}  // namespace sallyport::test
