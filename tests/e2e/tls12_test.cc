// Clients that have no TLS 1.3: refused by default, served with --min-tls 1.2, on TLS 1.2's terms.
#include <algorithm>

#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

constexpr int kNoRenegotiation = 100;

class Tls12 : public Scenario {
 protected:
  ClientOptions old(const TestCertificate& certificate) const {
    ClientOptions options = as(certificate);
    options.min_version = options.max_version = TLS1_2_VERSION;
    return options;
  }
  ClientOptions old() const { return old(client); }
  void start_with_tls12(const Backend& to) { start_for(to, {"--min-tls", "1.2"}); }

  Backend backend{echo()};
};

TEST_F(Tls12, IsOffByDefault) {
  start_for(backend);
  expect_refused(old(), "protocol_version_unsupported", kProtocolVersion);
}

class EachTls12Suite : public Tls12, public ::testing::WithParamInterface<const char*> {};

TEST_P(EachTls12Suite, CarriesAMegabyteEachWay) {
  if (std::string_view(GetParam()).starts_with("ECDHE-RSA")) {
    server = root.issue({.dns = {"orders.example.org"}, .key_type = KeyType::kRsa2048});
  }
  start_with_tls12(backend);
  ClientOptions options = old();
  options.cipher_list = GetParam();
  const LogLine line = expect_megabyte_each_way(options, "TLSv1.2", GetParam());
  EXPECT_EQ(line.at("resumed"), "false");
  EXPECT_EQ(line.at("records"), records_model());
  EXPECT_EQ(line.at("identity"), kWeb);
}

INSTANTIATE_TEST_SUITE_P(
    Tls12, EachTls12Suite,
    ::testing::Values("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256",
                      "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
                      "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"),
    [](const auto& suite) {
      std::string name(suite.param);
      std::ranges::replace(name, '-', '_');
      return name;
    });

TEST_F(Tls12, LeavesTls13AsItWasAcrossReloads) {
  start_with_tls12(backend);
  for (int round = 0; round < 2; ++round) {
    TlsClient newer = connect();
    EXPECT_TRUE(newer.echo("newer"));
    EXPECT_EQ(newer.cipher().substr(0, 4), "TLS_");
    ASSERT_NE(newer.session(), nullptr) << "a ticket";
    TlsClient older = connect(old());
    EXPECT_TRUE(older.echo("older"));
    EXPECT_EQ(older.tickets_received(), 0U);
    const double before = reloads("success");
    gateway->signal(SIGHUP);
    wait_reload("success", before);
    EXPECT_TRUE(newer.echo("after the reload"));
    EXPECT_TRUE(older.echo("after the reload"));
  }
}

TEST_F(Tls12, HasTheSameRefusalsAndAlerts) {
  start_with_tls12(backend);
  ClientOptions anonymous = old();
  anonymous.certificate.reset();
  // TLS 1.2 has no certificate_required.
  expect_refused(anonymous, "certificate_required", kHandshakeFailure);
  expect_refused(old(root.issue({.spiffe = {kWeb},
                                 .not_before = std::chrono::hours(-3),
                                 .not_after = std::chrono::hours(-1)})),
                 "certificate_expired", kCertificateExpired);
  expect_refused(old(TestAuthority("Other Root").issue({.spiffe = {kWeb}})),
                 "certificate_authority_invalid", kUnknownCa);
  expect_refused(old(root.issue({.spiffe = {"spiffe://elsewhere.org/x"}})), "not_authorized",
                 kAccessDenied);
  EXPECT_EQ(backend.accepted(), 0);
}

TEST_F(Tls12, RefusesClientsWithoutWhatItAsksOfThem) {
  start_with_tls12(backend);
  ClientOptions plain = old();
  plain.ssl_options = SSL_OP_NO_EXTENDED_MASTER_SECRET;
  expect_refused(plain, "key_exchange_failure", kHandshakeFailure);
  EXPECT_NE(gateway->wait_log({{"reason", "key_exchange_failure"}})
                .at("detail")
                .find("extended_master_secret"),
            std::string::npos);
  ClientOptions cbc = old();
  cbc.cipher_list = "ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA";
  expect_refused(cbc, "cipher_suite_mismatch", kHandshakeFailure);
}

/// OpenSSL's client goes no further without; what another hears is in ktls_kernel_records_test.
TEST_F(Tls12, DeclinesToRenegotiate) {
  start_with_tls12(backend);
  TlsClient tls = connect(old());
  ASSERT_TRUE(tls.echo("hello"));
  ASSERT_EQ(SSL_renegotiate(tls.ssl()), 1);
  SSL_do_handshake(tls.ssl());
  tls.flush();
  EXPECT_EQ(tls.receive_all(), "");
  EXPECT_EQ(tls.alert(), kNoRenegotiation) << tls.tls_error();
  tls.flush();  // its own alert, which is fatal
  EXPECT_EQ(gateway->wait_log({{"client", tls.local_address()}}).at("reason"), "record_error");
}

/// It comes with the Finished: the record layer begins with it.
TEST_F(Tls12, AnswersARecordOfNoTypeBehindFinished) {
  start_with_tls12(backend);
  ClientOptions options = old();
  options.tamper = [](std::string& ciphertext, std::size_t flight) {
    if (flight == 1) ciphertext += std::string("\x63\x03\x03\x00\x01\x00", 6);
  };
  TlsClient tls = connect(options);
  EXPECT_EQ(tls.receive_all(), "");
  EXPECT_EQ(tls.alert(), kUnexpectedMessage) << to_string(tls.end()) << " " << tls.tls_error();
  EXPECT_EQ(gateway->wait_log({{"client", tls.local_address()}}).at("reason"), "record_error");
}

TEST_F(Tls12, TellsATruncatedStreamFromAnEnd) {
  Transcript heard;
  Backend listening{listener(heard)};
  start_with_tls12(listening);
  TlsClient tls = connect(old());
  ASSERT_TRUE(tls.send("half a sent"));
  tls.shutdown_write();
  EXPECT_EQ(heard.wait_end(), StreamEnd::kReset);
  EXPECT_EQ(heard.data(), "half a sent");
  EXPECT_EQ(gateway->wait_log({{"client", tls.local_address()}}).at("reason"), "client_truncated");
}

TEST_F(Tls12, DrainsWithACloseNotify) {
  start_for(backend, {"--min-tls", "1.2", "--drain-timeout", "5s"});
  TlsClient tls = connect(old());
  ASSERT_TRUE(tls.echo("hello"));
  gateway->signal(SIGTERM);
  EXPECT_EQ(tls.receive_all(), "");
  EXPECT_EQ(tls.end(), TlsEnd::kCloseNotify);
  EXPECT_EQ(gateway->ended(0), "");
  EXPECT_EQ(gateway->wait_log({{"client", tls.local_address()}}).at("reason"), "drain");
  gateway.reset();
}

}  // namespace
}  // namespace sallyport::test
