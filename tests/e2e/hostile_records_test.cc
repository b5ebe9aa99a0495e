// A client that was let in and then sends records that no TLS library makes: each ends with the
// alert and the word that it deserves, whether kernel or userspace makes the records, and no such
// byte reaches the backend. The test seals them itself, under the keys of a handshake that
// OpenSSL's client did.
#include <poll.h>

#include <optional>
#include <string>
#include <vector>

#include "tests/e2e/forged_records.h"
#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

using ktls::ContentType;
using ktls::KeyUpdateRequest;
using ktls::testing::Bytes;
using ktls::testing::from_hex;
using ktls::testing::ScriptedPeer;

class HostileRecords : public Scenario {
 protected:
  /// Lets a client in and leaves its sending half to `forger_`.
  TlsClient established() {
    key_log_.clear();
    ClientOptions options = as(client);
    options.key_log = &key_log_;
    options.ciphersuites = "TLS_AES_128_GCM_SHA256";
    TlsClient tls = connect(std::move(options));
    EXPECT_TRUE(tls.connected());
    forger_.emplace(contexts_,
                    ktls::SessionState{ktls::CipherSuite::kAes128GcmSha256,
                                       {logged_secret(key_log_, "SERVER_TRAFFIC_SECRET_0"), 0},
                                       {logged_secret(key_log_, "CLIENT_TRAFFIC_SECRET_0"), 0}});
    put(tls, forger_->data(std::as_bytes(std::span("hello", 5))));
    EXPECT_EQ(tls.receive(5), "hello");
    return tls;
  }
  static void put(TlsClient& tls, const Bytes& bytes) {
    send_all(tls.socket(), {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
  bool in_kernel() const { return records_model() == "kernel"; }

  /// The gateway said `alert` and nothing else, and called it `reason` in log and metric.
  void expect_end(TlsClient& tls, const std::string& reason, std::optional<int> alert) {
    EXPECT_EQ(tls.receive(1), "");
    if (alert) {
      EXPECT_EQ(tls.end(), TlsEnd::kAlert) << to_string(tls.end()) << " " << tls.tls_error();
      EXPECT_EQ(tls.alert().value_or(-1), *alert);
    } else {
      EXPECT_TRUE(tls.end() == TlsEnd::kTruncated || tls.end() == TlsEnd::kReset)
          << to_string(tls.end());
    }
    const std::string from = tls.local_address();
    tls.abrupt_close();  // the gateway waits a moment for it, so that the alert is not lost
    const LogLine line = gateway->wait_log({{"client", from}});
    EXPECT_EQ(line.at("reason"), reason);
    EXPECT_EQ(line.at("records"), records_model());
    EXPECT_EQ(line.at("received_bytes"), "5");
    gateway->wait_metric("connections_closed_total", {{"reason", reason}}, ++ends_[reason]);
  }

  Backend backend{echo()};
  ktls::CipherContexts contexts_;
  std::optional<ScriptedPeer> forger_;

 private:
  std::string key_log_;
  std::map<std::string, double> ends_;
};

TEST_F(HostileRecords, EndWithTheAlertThatEachDeserves) {
  start_for(backend);
  std::vector<Offence> all = offences(in_kernel());
  all.push_back({"a ticket",
                 [](ScriptedPeer& peer) {
                   return peer.seal(ContentType::kHandshake, from_hex("04 000001 00"));
                 },
                 kUnexpectedMessage});
  for (const Offence& offence : all) {
    SCOPED_TRACE(offence.what);
    TlsClient tls = established();
    put(tls, offence.bytes(*forger_));
    expect_end(tls, "record_error", offence.alert);
  }
  EXPECT_TRUE(served());
}

// RFC 8446 6.2: a fatal alert ends the connection on both sides, and is not answered.
TEST_F(HostileRecords, ThatAreFatalAlertsAreNotAnswered) {
  start_for(backend);
  for (const int description : {10, 20, 22, 40, 47, 48, 50, 51, 70, 71, 80, 86, 109, 112, 255}) {
    SCOPED_TRACE(description);
    TlsClient tls = established();
    put(tls, forger_->alert(static_cast<ktls::AlertDescription>(description)));
    expect_end(tls, "record_error", std::nullopt);
  }
}

// RFC 8446 6.1: user_canceled is a prelude to close_notify.
TEST_F(HostileRecords, ThatSayUserCanceledEndInOrder) {
  start_for(backend);
  TlsClient tls = established();
  put(tls, forger_->alert(ktls::AlertDescription::kUserCanceled));
  put(tls, forger_->close_notify());
  EXPECT_EQ(tls.receive(1), "");
  EXPECT_EQ(tls.end(), TlsEnd::kCloseNotify);
  EXPECT_EQ(gateway->wait_log({{"client", tls.local_address()}}).at("reason"), "done");
}

// RFC 8446 5.1, 5.4: records without content are allowed, and padding has no meaning. A
// kernel was seen to deliver it in the place of data.
TEST_F(HostileRecords, ThatAreEmptyOrPaddedArePassedOverAndLoseNothing) {
  start_for(backend);
  TlsClient tls = established();
  const std::string data = pseudo_random(30'000, 3);
  Bytes bytes;
  for (std::size_t at = 0; at < data.size(); at += 100) {
    const auto piece = std::as_bytes(std::span(data).subspan(at, 100));
    ktls::testing::append(bytes, forger_->inner(piece, 23, 1 + at % 300));
    ktls::testing::append(bytes, forger_->data({}));
  }
  put(tls, bytes);
  put(tls, forger_->close_notify());
  EXPECT_EQ(sha256_hex(tls.receive_all()), sha256_hex(data));
  EXPECT_EQ(tls.end(), TlsEnd::kCloseNotify);
}

// RFC 8446 4.6.3: followed and answered, also where nothing else is said; where an older kernel
// makes the records the connection ends, in its own word and with an alert.
TEST_F(HostileRecords, ThatAreKeyUpdatesAreFollowedOrEndInTheirOwnWord) {
  start_for(backend);
  for (const auto request :
       {KeyUpdateRequest::kUpdateNotRequested, KeyUpdateRequest::kUpdateRequested}) {
    TlsClient tls = established();
    put(tls, forger_->key_update(request));
    if (!follows_key_updates()) {
      expect_end(tls, "keyupdate_unsupported", kInternalError);
      continue;
    }
    put(tls, forger_->data(std::as_bytes(std::span("again", 5))));
    EXPECT_EQ(tls.receive(5), "again");
    put(tls, forger_->close_notify());
    tls.receive_all();
    EXPECT_EQ(tls.end(), TlsEnd::kCloseNotify);
  }
  gateway->wait_metric("tls_keyupdates_total", {{"direction", "receive"}}, 2);
  if (follows_key_updates()) {
    gateway->wait_metric("tls_keyupdates_total", {{"direction", "send"}}, 1);
  }
}

TEST_F(HostileRecords, ThatAreAFloodOfKeyUpdatesEndInTheirOwnWord) {
  start_for(backend);
  TlsClient tls = established();
  Bytes bytes;
  for (int i = 0; i < 100; ++i) {
    ktls::testing::append(bytes, forger_->key_update(KeyUpdateRequest::kUpdateNotRequested));
  }
  put(tls, bytes);
  if (follows_key_updates()) {
    expect_end(tls, "keyupdate_flood", kUnexpectedMessage);
  } else {
    expect_end(tls, "keyupdate_unsupported", kInternalError);
  }
}

// Userspace records: the kernel passes over them, and tells nothing (tests/vm/selection).
TEST_F(HostileRecords, EndAtAFloodOfEmptyOnes) {
  start_for(backend);
  TlsClient tls = established();
  pollfd answer{.fd = tls.socket().get(), .events = POLLIN, .revents = 0};
  for (int i = 0; i < 20'000 && ::poll(&answer, 1, 0) == 0; ++i) put(tls, forger_->data({}));
  expect_end(tls, "record_error", kUnexpectedMessage);
}

}  // namespace
}  // namespace sallyport::test
