// What comes in by TLS, or in plaintext of an application of this machine, goes on by TLS: for each
// model of records, version and suite, nothing is lost on either leg, and each side is told the
// truth about how the other one ended.
#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "gateway/connection/proxy_header_reader.h"
#include "tests/gateway/connection/serve_fixture.h"
#include "tests/support/gateway.h"
#include "tests/support/tls_backend.h"

namespace sallyport::gateway {
namespace {

using ktls::RecordModel;
using ktls::RecordVersion;
using ktls::testing::Protection;
using test::Backend;
using test::StreamEnd;
using test::TlsClient;
using test::TlsEnd;
using test::Transcript;

constexpr char kServer[] = "spiffe://example.org/orders";

/// How the client speaks with the gateway.
enum class ClientLeg { kTls, kPlain };

/// How what it heard came to its end.
enum class Heard { kCleanEnd, kCut, kAlert, kOther };

void PrintTo(Heard heard, std::ostream* out) {
  constexpr const char* kWords[] = {"a clean end", "a cut", "an alert", "something else"};
  *out << kWords[static_cast<int>(heard)];
}

bool write_all(SSL* ssl, std::string_view data) {
  return SSL_write(ssl, data.data(), static_cast<int>(data.size())) ==
         static_cast<int>(data.size());
}

// Beside the records.
void send_raw(SSL* ssl, std::string_view bytes) {
  const auto size = static_cast<ssize_t>(bytes.size());
  EXPECT_EQ(::send(SSL_get_fd(ssl), bytes.data(), bytes.size(), MSG_NOSIGNAL), size);
}

// Nothing behind it is read.
std::optional<ProxiedAddresses> read_proxy_header(const test::Fd& socket) {
  ProxyHeaderReader reader;
  auto state = ProxyHeaderReader::State::kPartial;
  for (std::byte byte{}; state == ProxyHeaderReader::State::kPartial;) {
    if (::recv(socket.get(), &byte, 1, 0) != 1) return {};
    std::span<const std::byte> bytes(&byte, 1);
    state = reader.add(bytes);
  }
  return state == ProxyHeaderReader::State::kWhole ? reader.addresses() : std::nullopt;
}

/// A client of either kind.
class AnyClient {
 public:
  explicit AnyClient(TlsClient tls) : tls_(std::move(tls)) {}
  explicit AnyClient(test::Fd plain) : plain_(std::move(plain)) {}

  bool send(std::string_view data) {
    if (tls_) return tls_->send(data);
    test::send_all(plain_, data);
    return true;
  }
  std::string receive(std::size_t enough) {
    if (tls_) return tls_->receive(enough);
    std::string data;
    end_ = test::receive(plain_, data, enough);
    return data;
  }
  std::string receive_all() { return receive(static_cast<std::size_t>(-1)); }
  std::string exchange(std::string_view data) {
    if (tls_) return tls_->exchange(data, data.size());
    std::thread sends([&] { test::send_all(plain_, data); });
    std::string echoed = receive(data.size());
    sends.join();
    return echoed;
  }
  void close() {
    if (tls_) return tls_->close_notify();
    ::shutdown(plain_.get(), SHUT_WR);
  }
  /// Its stream ends, and that is no end: a FIN without close_notify, or a reset.
  void cut_off() {
    if (tls_) return tls_->shutdown_write();
    plain_.reset();
  }
  void reset() {
    if (tls_) return tls_->reset();
    plain_.reset();
  }
  std::string local_address() const {
    return tls_ ? tls_->local_address() : test::local_address(plain_).to_string();
  }
  Heard heard() const {
    if (!tls_) return end_ == StreamEnd::kFin ? Heard::kCleanEnd : Heard::kCut;
    switch (tls_->end()) {
      case TlsEnd::kCloseNotify:
        return Heard::kCleanEnd;
      case TlsEnd::kTruncated:
      case TlsEnd::kReset:
        return Heard::kCut;
      case TlsEnd::kAlert:
        return Heard::kAlert;
      default:
        return Heard::kOther;
    }
  }
  TlsClient& tls() { return *tls_; }

 private:
  std::optional<TlsClient> tls_;
  test::Fd plain_;
  StreamEnd end_ = StreamEnd::kOpen;
};

using Legs = std::tuple<ClientLeg, RecordModel, Protection>;

std::string name_of_legs(const ::testing::TestParamInfo<Legs>& info) {
  const auto& [leg, model, protection] = info.param;
  return std::string(leg == ClientLeg::kTls ? "Tls" : "Plain") + "_" +
         std::string(ktls::to_string(model)) + "_" + ktls::testing::to_string(protection);
}

class BothLegs : public ServeTest, public ::testing::WithParamInterface<Legs> {
 protected:
  BothLegs() : ServeTest(HandshakeLimits().memory) {}
  void SetUp() override {
    if (std::get<RecordModel>(GetParam()) == RecordModel::kKernel) {
      SALLYPORT_NEEDS_KTLS();
      with_kernel_records();
    }
    // Short: a backend that does not answer is waited for in real time.
    timeouts_.answered = std::chrono::milliseconds(20);
    timeouts_.unanswered = std::chrono::milliseconds(60);
    timeouts_.connect = std::chrono::minutes(5);  // a guest may be slow
    pki_.settings.min_version = protection().version;
    ServeTest::SetUp();
    if (plain()) served_.egress_route = "orders";
  }

  static bool plain() { return std::get<ClientLeg>(GetParam()) == ClientLeg::kPlain; }
  static const Protection& protection() { return std::get<Protection>(GetParam()); }
  static bool tls12() { return protection().version == RecordVersion::kTls12; }
  static int version() { return tls12() ? TLS1_2_VERSION : TLS1_3_VERSION; }
  static std::string suite() { return std::string(name(protection().suite)); }
  static std::string suite_of_tls12() {
    for (const ktls::Tls12Suite& each : ktls::kTls12Suites)
      if (each.records == protection().suite) return std::string(each.name);
    return {};
  }
  // Whether the one who makes the records follows new keys.
  bool follows_key_updates() const {
    return records_.wanted == RecordsWanted::kUserspace || ktls::testing::can_rekey();
  }

  // `client` with the backend that serves so.
  template <class Client>
  void relay(test::TlsServe serve, Client client) {
    relay_to(over_tls(std::move(serve)), std::move(client));
  }
  Backend::Serve over_tls(test::TlsServe serve) const {
    return test::over_tls({.certificate = pki_.authority.issue({.spiffe = {kServer}}),
                           .max_version = version(),
                           .ciphersuites = suite(),
                           .cipher_list = suite_of_tls12()},
                          std::move(serve));
  }
  template <class Client>
  void relay_to(Backend::Serve serve, Client client) {
    const Backend backend(std::move(serve));
    serve_to(backend.address());
    serve_clients([&] {
      AnyClient any = connect_any();
      client(any);
    });
    ASSERT_EQ(log_.records.size(), 1U);
  }
  const ConnectionFacts& facts() const { return log_.records.at(0); }
  std::string reason() const { return std::string(to_string(facts().reason)); }

  std::optional<ProxyRule> proxy_;  // of the route

 private:
  void serve_to(const std::string& target) {
    Snapshot snapshot;
    snapshot.credentials = pki_.load().value();
    Route orders = route("orders");
    BackendTls rule;
    rule.verify = {IdentityPattern::parse(kServer).value()};
    rule.min_version = protection().version;
    orders.backend_tls = std::move(rule);
    orders.proxy = proxy_;
    orders.endpoint_rules.ejection.reset();
    snapshot.policy = *Policy::build({std::move(orders)});
    const test::DiscoveryGroup group{{target}, {{"route", "orders"}}};
    snapshot.endpoints =
        EndpointSet::build(*parse_discovery(test::discovery_json({group}), "groups"), {}, nullptr);
    state_.balancer.update(snapshot.endpoints);
    serve_with(std::move(snapshot));
    state_.backend_tls = std::make_shared<const std::vector<std::shared_ptr<ktls::ClientContext>>>(
        1, pki_.client_context());
  }
  AnyClient connect_any() {
    if (plain()) return AnyClient(test::connect_to(listener_->address().to_string()));
    return AnyClient(connect({.ciphersuites = suite(),
                              .cipher_list = suite_of_tls12(),
                              .min_version = version(),
                              .max_version = version()}));
  }
};

TEST_P(BothLegs, CarryMegabytesBothWays) {
  const std::string data = test::pseudo_random(ktls::testing::bulk(3 << 20), 1);
  relay(test::echo_over_tls, [&](AnyClient& client) {
    EXPECT_EQ(test::sha256_hex(client.exchange(data)), test::sha256_hex(data));
    client.close();
    EXPECT_EQ(client.receive_all(), "");
    EXPECT_EQ(client.heard(), Heard::kCleanEnd);
  });
  EXPECT_EQ(reason(), "done") << facts().detail;
  EXPECT_EQ(facts().received_bytes, data.size());
  EXPECT_EQ(facts().sent_bytes, data.size());
  EXPECT_EQ(facts().backend_identity, kServer);
}

INSTANTIATE_TEST_SUITE_P(Each, BothLegs,
                         ::testing::Combine(::testing::Values(ClientLeg::kTls, ClientLeg::kPlain),
                                            ::testing::Values(RecordModel::kUserspace,
                                                              RecordModel::kKernel),
                                            ::testing::ValuesIn(ktls::testing::kProtections)),
                         name_of_legs);

/// Of each version one suite.
class EndsOfBothLegs : public BothLegs {};

// The header in the clear, the handshake behind it, and only then the records, whoever makes them.
TEST_P(EndsOfBothLegs, BeginBehindAProxyHeader) {
  proxy_ = ProxyRule{.tlvs = {ProxyTlv::kUniqueId}};
  std::optional<ProxiedAddresses> told;
  const auto tls = over_tls(test::echo_over_tls);
  const auto behind_header = [&](test::Fd& socket) {
    told = read_proxy_header(socket);
    tls(socket);
  };
  std::string from;
  const std::string data = test::pseudo_random(ktls::testing::bulk(1 << 20), 7);
  relay_to(behind_header, [&](AnyClient& client) {
    from = client.local_address();
    EXPECT_EQ(test::sha256_hex(client.exchange(data)), test::sha256_hex(data));
    client.close();
    EXPECT_EQ(client.receive_all(), "");
    EXPECT_EQ(client.heard(), Heard::kCleanEnd);
  });
  ASSERT_TRUE(told);
  EXPECT_EQ(told->source.to_string(), from);
  EXPECT_EQ(told->destination.to_string(), listener_->address().to_string());
  EXPECT_EQ(reason(), "done") << facts().detail;
  EXPECT_EQ(facts().backend_identity, kServer);
}

TEST_P(EndsOfBothLegs, LetTheBackendGoOnBehindTheClient) {
  const std::string answer = test::pseudo_random(ktls::testing::bulk(1 << 20), 2);
  Transcript heard;
  const auto answers_at_the_end = [&](SSL* ssl) {
    test::listen_over_tls(ssl, heard);
    EXPECT_TRUE(write_all(ssl, answer));
    SSL_shutdown(ssl);
  };
  relay(answers_at_the_end, [&](AnyClient& client) {
    EXPECT_TRUE(client.send("question"));
    client.close();
    EXPECT_EQ(test::sha256_hex(client.receive_all()), test::sha256_hex(answer));
    EXPECT_EQ(client.heard(), Heard::kCleanEnd);
  });
  EXPECT_EQ(heard.wait_end(), StreamEnd::kFin);
  EXPECT_EQ(heard.data(), "question");
  EXPECT_EQ(reason(), "done");
}

TEST_P(EndsOfBothLegs, LetTheClientGoOnBehindTheBackend) {
  const std::string data = test::pseudo_random(ktls::testing::bulk(1 << 20), 3);
  Transcript heard;
  const auto closes_first = [&](SSL* ssl) {
    EXPECT_TRUE(write_all(ssl, "that is all"));
    SSL_shutdown(ssl);
    test::listen_over_tls(ssl, heard);
  };
  relay(closes_first, [&](AnyClient& client) {
    EXPECT_EQ(client.receive_all(), "that is all");
    EXPECT_EQ(client.heard(), Heard::kCleanEnd);
    EXPECT_TRUE(client.send(data));
    client.close();
    EXPECT_EQ(heard.wait_end(), StreamEnd::kFin);
  });
  EXPECT_EQ(test::sha256_hex(heard.data()), test::sha256_hex(data));
  EXPECT_EQ(reason(), "done");
}

TEST_P(EndsOfBothLegs, TellTheClientThatItsBackendWasCutOff) {
  const std::string answer = test::pseudo_random(100'000, 4);
  relay([&](SSL* ssl) { EXPECT_TRUE(write_all(ssl, answer)); },
        [&](AnyClient& client) {
          EXPECT_EQ(test::sha256_hex(client.receive_all()), test::sha256_hex(answer));
          EXPECT_EQ(client.heard(), Heard::kCut);
        });
  EXPECT_EQ(reason(), "backend_truncated");
}

TEST_P(EndsOfBothLegs, TellTheClientThatItsBackendWasCutOffInARecord) {
  const auto ends_in_a_record = [&](SSL* ssl) {
    EXPECT_TRUE(write_all(ssl, "whole"));
    send_raw(ssl, {"\x17\x03\x03\x01\x00 half", 10});
  };
  relay(ends_in_a_record, [&](AnyClient& client) {
    EXPECT_EQ(client.receive_all(), "whole");
    EXPECT_EQ(client.heard(), Heard::kCut);
  });
  EXPECT_EQ(reason(), "backend_truncated");
}

TEST_P(EndsOfBothLegs, TellTheClientThatItsBackendHasReset) {
  const auto resets = [&](SSL* ssl) {
    EXPECT_TRUE(write_all(ssl, "ready"));
    char request{};
    EXPECT_EQ(SSL_read(ssl, &request, 1), 1);
    const sockaddr nowhere{.sa_family = AF_UNSPEC, .sa_data = {}};  // dissolves it, tcp(7)
    EXPECT_EQ(::connect(SSL_get_fd(ssl), &nowhere, sizeof nowhere), 0);
  };
  relay(resets, [&](AnyClient& client) {
    EXPECT_EQ(client.receive(5), "ready");
    EXPECT_TRUE(client.send("x"));
    EXPECT_EQ(client.receive_all(), "");
    EXPECT_EQ(client.heard(), Heard::kCut);
  });
  EXPECT_EQ(reason(), "backend_reset");
}

TEST_P(EndsOfBothLegs, TellTheClientThatARecordOfItsBackendWasForged) {
  const std::string answer = test::pseudo_random(40'000, 5);
  const auto is_tampered_with = [&](SSL* ssl) {
    EXPECT_TRUE(write_all(ssl, answer));
    send_raw(ssl, std::string("\x17\x03\x03\x00\x28", 5) + std::string(40, 'x'));
    Transcript to_the_end;
    test::listen_over_tls(ssl, to_the_end);
    EXPECT_EQ(to_the_end.wait_end(), StreamEnd::kReset);
  };
  relay(is_tampered_with, [&](AnyClient& client) {
    EXPECT_EQ(test::sha256_hex(client.receive_all()), test::sha256_hex(answer));
    EXPECT_EQ(client.heard(), Heard::kCut);
  });
  EXPECT_EQ(reason(), "backend_record_error");
}

TEST_P(EndsOfBothLegs, TellTheBackendThatItsClientWasCutOff) {
  const std::string data = test::pseudo_random(100'000, 6);
  Transcript heard;
  relay([&](SSL* ssl) { test::listen_over_tls(ssl, heard); },
        [&](AnyClient& client) {
          EXPECT_TRUE(client.send(data));
          heard.wait_size(data.size());
          client.cut_off();
          EXPECT_EQ(heard.wait_end(), StreamEnd::kReset);
        });
  EXPECT_EQ(test::sha256_hex(heard.data()), test::sha256_hex(data));
  EXPECT_EQ(reason(), plain() ? "client_reset" : "client_truncated");
}

TEST_P(EndsOfBothLegs, TellTheBackendThatItsClientHasReset) {
  Transcript heard;
  relay([&](SSL* ssl) { test::listen_over_tls(ssl, heard); },
        [&](AnyClient& client) {
          EXPECT_TRUE(client.send("before"));
          heard.wait_size(6);
          client.reset();
          EXPECT_EQ(heard.wait_end(), StreamEnd::kReset);
        });
  EXPECT_EQ(heard.data(), "before");
  EXPECT_EQ(reason(), "client_reset");
}

INSTANTIATE_TEST_SUITE_P(Each, EndsOfBothLegs,
                         ::testing::Combine(::testing::Values(ClientLeg::kTls, ClientLeg::kPlain),
                                            ::testing::Values(RecordModel::kUserspace,
                                                              RecordModel::kKernel),
                                            ::testing::Values(ktls::testing::kProtections[0],
                                                              ktls::testing::kProtections[3])),
                         name_of_legs);

/// TLS 1.3.
class NewKeysOfBothLegs : public BothLegs {};

TEST_P(NewKeysOfBothLegs, AreFollowedOrSaidToBeUnsupported) {
  const auto updates_each_time = [](SSL* ssl) {
    char buffer[16384];
    int size = 0;
    while ((size = SSL_read(ssl, buffer, sizeof buffer)) > 0) {
      EXPECT_EQ(SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED), 1);
      if (SSL_write(ssl, buffer, size) != size) return;
    }
    if (SSL_get_error(ssl, size) == SSL_ERROR_ZERO_RETURN) SSL_shutdown(ssl);
  };
  relay(updates_each_time, [&](AnyClient& client) {
    for (int round = 0; round < 4 && follows_key_updates(); ++round) {
      if (!plain()) client.tls().key_update(round % 2 == 0);
      const std::string data = test::pseudo_random(10'000, static_cast<unsigned>(round));
      EXPECT_EQ(client.exchange(data), data) << round;
    }
    if (follows_key_updates()) {
      client.close();
    } else {
      EXPECT_TRUE(client.send("x"));
    }
    EXPECT_EQ(client.receive_all(), "");
    EXPECT_EQ(client.heard(), follows_key_updates() ? Heard::kCleanEnd : Heard::kCut);
  });
  EXPECT_EQ(reason(), follows_key_updates() ? "done" : "backend_keyupdate_unsupported");
}

INSTANTIATE_TEST_SUITE_P(Each, NewKeysOfBothLegs,
                         ::testing::Combine(::testing::Values(ClientLeg::kTls, ClientLeg::kPlain),
                                            ::testing::Values(RecordModel::kUserspace,
                                                              RecordModel::kKernel),
                                            ::testing::Values(ktls::testing::kProtections[0],
                                                              ktls::testing::kProtections[2])),
                         name_of_legs);

}  // namespace
}  // namespace sallyport::gateway
