// Backends that were who they must be and then break the rules of TLS, or never come so far: each
// ends its connection with its own word, costs bounded memory and no other connection.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/e2e/forged_records.h"
#include "tests/e2e/scenario.h"
#include "tests/support/tls_backend.h"

namespace sallyport::test {
namespace {

using ktls::ContentType;
using ktls::KeyUpdateRequest;
using ktls::testing::Bytes;
using ktls::testing::from_hex;
using ktls::testing::ScriptedPeer;

constexpr char kHostileOrders[] = "spiffe://example.org/ns/shop/sa/orders";

class HostileServer : public Scenario {
 protected:
  void start_for_target(const std::string& target, const std::vector<std::string>& more = {}) {
    discover({target});
    std::vector<std::string> all{"--policy", dir.write("policy.json", R"({"routes": {"orders": {
      "allow": ["spiffe://example.org/**"], "ejection": false,
      "backend-tls": {"verify": ["spiffe://example.org/ns/shop/sa/orders"]}}}})")};
    all.insert(all.end(), more.begin(), more.end());
    start(all);
  }
  TestCertificate orders(const LeafSpec& spec = {.spiffe = {kHostileOrders}}) const {
    return root.issue(spec);
  }
};

// ---- Behind the handshake.

void put(const Fd& socket, const Bytes& bytes) {
  send_all(socket, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

// A backend of OpenSSL's up to its handshake, and a forger's behind it. One connection at a time.
class Forger {
 public:
  /// What a connection does behind its first answer: sends what it likes. The peer seals.
  using Forge = std::function<void(const Fd& socket, ScriptedPeer& peer)>;

  /// The next connection does this.
  void next(Forge forge) {
    key_log_.clear();
    alert_ = -1;
    ended_ = {};
    forge_ = std::move(forge);
  }
  /// Waits for its end: the last alert that it received; -1: none.
  int wait_alert() {
    auto ended = ended_.get_future();
    if (ended.wait_for(kPatience) != std::future_status::ready)
      throw TestFailure("the backend's connection does not end");
    ended.get();
    return alert_;
  }

  /// For Backend; this outlives it.
  Backend::Serve serve(const TestCertificate& certificate, const std::string& client_ca) {
    TlsBackendOptions options{.certificate = certificate, .client_ca = client_ca};
    options.configure = [this](SSL_CTX* context) {
      SSL_CTX_set_app_data(context, this);
      SSL_CTX_set_num_tickets(context, 0);
      SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256");
      SSL_CTX_set_keylog_callback(context, [](const SSL* ssl, const char* line) {
        of(ssl).key_log_ += std::string(line) + "\n";
      });
      SSL_CTX_set_info_callback(context, [](const SSL* ssl, int where, int value) {
        if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT) of(ssl).alert_ = value & 0xff;
      });
    };
    return over_tls(std::move(options), [this](SSL* ssl) { forge(ssl); });
  }

 private:
  static Forger& of(const SSL* ssl) {
    return *static_cast<Forger*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
  }

  void forge(SSL* ssl) {
    std::array<char, 5> hello{};
    std::size_t count = 0;
    while (count < hello.size()) {
      const int size = SSL_read(ssl, hello.data() + count, static_cast<int>(hello.size() - count));
      if (size <= 0) break;
      count += static_cast<std::size_t>(size);
    }
    if (count == hello.size()) {
      ktls::CipherContexts contexts;
      ScriptedPeer peer(contexts, {ktls::CipherSuite::kAes128GcmSha256,
                                   {logged_secret(key_log_, "CLIENT_TRAFFIC_SECRET_0"), 0},
                                   {logged_secret(key_log_, "SERVER_TRAFFIC_SECRET_0"), 0}});
      // What OpenSSL does not know of is written past it; what comes is still its to read.
      Fd socket(::dup(SSL_get_fd(ssl)));
      try {
        put(socket, peer.data(std::as_bytes(std::span(hello))));
        forge_(socket, peer);
      } catch (const TestFailure& failure) {
        static_cast<void>(failure);  // the gateway has ended it: the test sees how
      }
      while (SSL_read(ssl, hello.data(), static_cast<int>(hello.size())) > 0) {
      }
    }
    ended_.set_value();
  }

  Forge forge_;
  std::string key_log_;
  int alert_ = -1;
  std::promise<void> ended_;
};

class HostileRecordsOfServer : public HostileServer {
 protected:
  void start_for_forger() { start_for_target(backend_.address()); }
  // A client of a connection whose backend has gone on to forge.
  TlsClient established(Forger::Forge forge) {
    forger_.next(std::move(forge));
    TlsClient tls = connect();
    EXPECT_TRUE(tls.send("hello"));
    EXPECT_EQ(tls.receive(5), "hello");
    return tls;
  }
  // The backend got `alert` (-1: none), the client no clean end, and the log the word.
  void expect_end(TlsClient& tls, const std::string& reason, int alert) {
    EXPECT_EQ(tls.receive_all(), "");
    EXPECT_EQ(tls.end(), TlsEnd::kTruncated) << to_string(tls.end());
    const std::string from = tls.local_address();
    tls.abrupt_close();  // the gateway waits a moment for it
    EXPECT_EQ(forger_.wait_alert(), alert);
    const LogLine line = gateway->wait_log({{"client", from}});
    EXPECT_EQ(line.at("reason"), reason);
    EXPECT_EQ(line.at("sent_bytes"), "5");
  }
  static Forger::Forge once(Bytes (*make)(ScriptedPeer&)) {
    return [make](const Fd& socket, ScriptedPeer& peer) { put(socket, make(peer)); };
  }
  bool in_kernel() const { return records_model() == "kernel"; }

  Forger forger_;
  Backend backend_{forger_.serve(orders(), root.cert_pem())};
};

TEST_F(HostileRecordsOfServer, EndWithTheAlertThatEachDeserves) {
  start_for_forger();
  for (const Offence& offence : offences(in_kernel())) {
    SCOPED_TRACE(offence.what);
    TlsClient tls = established(once(offence.bytes));
    expect_end(tls, "backend_record_error", offence.alert);
  }
}

// RFC 8446 6.2: a fatal alert ends the connection on both sides, and is not answered.
TEST_F(HostileRecordsOfServer, ThatAreFatalAlertsAreNotAnswered) {
  start_for_forger();
  for (const int description : {10, 20, 40, 47, 50, 80, 112, 116, 255}) {
    SCOPED_TRACE(description);
    TlsClient tls = established([description](const Fd& socket, ScriptedPeer& peer) {
      put(socket, peer.alert(static_cast<ktls::AlertDescription>(description)));
    });
    expect_end(tls, "backend_alert", -1);
  }
}

TEST_F(HostileRecordsOfServer, ThatAreAFloodOfKeyUpdatesEndInTheirOwnWord) {
  start_for_forger();
  TlsClient tls = established([](const Fd& socket, ScriptedPeer& peer) {
    Bytes bytes;
    for (int i = 0; i < 100; ++i)
      ktls::testing::append(bytes, peer.key_update(KeyUpdateRequest::kUpdateNotRequested));
    put(socket, bytes);
  });
  if (follows_key_updates()) {
    expect_end(tls, "backend_keyupdate_flood", kUnexpectedMessage);
  } else {
    expect_end(tls, "backend_keyupdate_unsupported", kInternalError);
  }
}

// A server may send tickets at any time (RFC 8446 4.6.1). Two are kept; none of the others costs
// memory, and data passes between and behind them.
TEST_F(HostileRecordsOfServer, ThatAreTicketsWithoutEndCostNoMemory) {
  start_for_forger();
  EXPECT_TRUE(established([](const Fd&, ScriptedPeer&) {}).connected());  // pools are there now
  forger_.wait_alert();
  const long before = gateway->rss_kib();
  long most = 0;
  TlsClient tls = established([](const Fd& socket, ScriptedPeer& peer) {
    // Lifetime, age_add, nonce of a byte, a ticket of 12,000, no extension.
    Bytes ticket = from_hex("04 002eee 00000e10 00000000 01 00 2ee0");
    ticket.resize(ticket.size() + 12'000);
    ktls::testing::append(ticket, from_hex("0000"));
    for (int i = 0; i < 4'000; ++i) {
      put(socket, peer.seal(ContentType::kHandshake, ticket));
      if (i % 100 == 99) put(socket, peer.data(std::as_bytes(std::span("again", 5))));
    }
    put(socket, peer.close_notify());
  });
  for (int i = 0; i < 40; ++i) {
    ASSERT_EQ(tls.receive(5), "again") << i;
    most = std::max(most, gateway->rss_kib());
  }
  tls.close_notify();
  EXPECT_EQ(tls.receive_all(), "");
  EXPECT_EQ(tls.end(), TlsEnd::kCloseNotify);
  EXPECT_EQ(gateway->wait_log({{"client", tls.local_address()}}).at("reason"), "done");
  if (!kSanitized) EXPECT_LE(most - before, 2048) << "KiB, of 48 MB that were sent";
}

// A ticket that is cut off is never whole, and may not be followed by data.
TEST_F(HostileRecordsOfServer, ThatAreAPartOfATicketEndWithAnAlert) {
  start_for_forger();
  TlsClient tls = established(once([](ScriptedPeer& peer) {
    Bytes bytes = peer.seal(ContentType::kHandshake, from_hex("04 000100 00"));
    ktls::testing::append(bytes, peer.data(Bytes(1)));
    return bytes;
  }));
  expect_end(tls, "backend_record_error", kUnexpectedMessage);
}

// ---- In the handshake.

// What becomes of a flight of the server, before which so many bytes were sent. False: this is its
// end.
using Change = std::function<bool(std::string& flight, std::size_t before)>;

bool leave_alone(std::string&, std::size_t) {
  return true;
}

// OpenSSL's server over memory, whose bytes pass through `change` and go out in pieces of so many.
// Echoes.
class ChangedServer {
 public:
  ChangedServer(const TestCertificate& certificate, Change change, std::size_t piece = SIZE_MAX)
      : context_(SSL_CTX_new(TLS_server_method()), SSL_CTX_free),
        change_(std::move(change)),
        piece_(piece) {
    if (SSL_CTX_use_certificate(context_.get(), certificate.x509.get()) != 1 ||
        SSL_CTX_use_PrivateKey(context_.get(), certificate.key.get()) != 1)
      throw TestFailure("a server without its certificate");
  }

  /// For Backend; this outlives it.
  Backend::Serve serve() {
    return [this](Fd& socket) {
      const std::shared_ptr<SSL> ssl(SSL_new(context_.get()), SSL_free);
      BIO* const in = BIO_new(BIO_s_mem());
      BIO* const out = BIO_new(BIO_s_mem());
      BIO_set_mem_eof_return(in, -1);
      SSL_set_bio(ssl.get(), in, out);
      SSL_set_accept_state(ssl.get());
      const int no_delay = 1;
      ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &no_delay, sizeof no_delay);
      std::size_t sent = 0;
      for (std::string received; receive(socket, received, 1) == StreamEnd::kOpen;
           received.clear()) {
        BIO_write(in, received.data(), static_cast<int>(received.size()));
        const bool ends = step(ssl.get());
        std::string flight(BIO_ctrl_pending(out), '\0');
        if (!flight.empty()) BIO_read(out, flight.data(), static_cast<int>(flight.size()));
        const std::size_t size = flight.size();
        const bool goes_on = size == 0 || change_(flight, sent);
        sent += size;
        for (std::string_view rest = flight; !rest.empty();
             rest.remove_prefix(std::min(piece_, rest.size())))
          send_all(socket, rest.substr(0, piece_));
        if (ends || !goes_on) break;
      }
      ::shutdown(socket.get(), SHUT_WR);
    };
  }

 private:
  // Whether the client has ended.
  static bool step(SSL* ssl) {
    if (SSL_do_handshake(ssl) != 1) return false;
    std::array<char, 4096> buffer{};
    int size = 0;
    while ((size = SSL_read(ssl, buffer.data(), buffer.size())) > 0)
      SSL_write(ssl, buffer.data(), size);
    if (SSL_get_error(ssl, size) != SSL_ERROR_ZERO_RETURN) return false;
    SSL_shutdown(ssl);
    return true;
  }

  std::shared_ptr<SSL_CTX> context_;
  Change change_;
  std::size_t piece_;
};

class HostileHandshakeOfServer : public HostileServer {
 protected:
  // The connection of a client whose only backend this is; what the log says of it.
  LogLine ended_by(const Backend::Serve& serve, const std::vector<std::string>& flags = {}) {
    const Backend backend(serve);
    start_for_target(backend.address(), flags);
    LogLine line = ended();
    finish();
    return line;
  }
  LogLine ended() {
    TlsClient tls = connect();
    EXPECT_EQ(tls.receive_all(), "");
    EXPECT_EQ(tls.end(), TlsEnd::kAlert) << to_string(tls.end());
    EXPECT_EQ(tls.alert().value_or(-1), kInternalError);
    const std::string from = tls.local_address();
    tls.abrupt_close();  // the gateway waits a moment for it
    return gateway->wait_log({{"client", from}});
  }
  static void expect_failed(const LogLine& line, const std::string& detail) {
    EXPECT_EQ(line.at("reason"), "backend_tls_failed");
    EXPECT_NE(line.at("detail").find(detail), std::string::npos) << line.at("detail");
  }
  // Takes the ClientHello and answers so.
  static Backend::Serve answering(std::string bytes) {
    return [bytes = std::move(bytes)](Fd& socket) {
      std::string hello;
      receive(socket, hello, 100);
      send_all(socket, bytes);
      receive_all(socket, hello);
    };
  }
  // Of the size of a server's first flight.
  std::size_t flight_size() {
    std::size_t size = 0;
    ChangedServer server(orders(), [&](std::string& flight, std::size_t before) {
      if (before == 0) size = flight.size();
      return true;
    });
    {
      const Backend backend(server.serve());
      start_for_target(backend.address());
      EXPECT_TRUE(served());
      finish();
    }
    return size;
  }
};

TEST_F(HostileHandshakeOfServer, ThatComesByteByByteIsServed) {
  ChangedServer server(orders(), leave_alone, 1);
  const Backend backend(server.serve());
  start_for_target(backend.address(), {"--connect-timeout", "60s"});
  EXPECT_TRUE(served());
}

TEST_F(HostileHandshakeOfServer, ThatNeverComesIsWaitedForAsForAConnect) {
  const LogLine line = ended_by(stall(), {"--connect-timeout", "300ms"});
  EXPECT_EQ(line.at("reason"), "backend_timeout");
}

TEST_F(HostileHandshakeOfServer, ThatStopsHalfWayIsWaitedForAsForAConnect) {
  const std::size_t half = flight_size() / 2;
  ChangedServer server(orders(), [half](std::string& flight, std::size_t before) {
    flight.resize(before == 0 ? half : 0);
    return true;
  });
  const LogLine line = ended_by(server.serve(), {"--connect-timeout", "300ms"});
  EXPECT_EQ(line.at("reason"), "backend_timeout");
}

TEST_F(HostileHandshakeOfServer, ThatEndsHalfWaySaysSo) {
  const std::size_t whole = flight_size();
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, std::size_t{5}, std::size_t{100}, whole / 2, whole - 20}) {
    SCOPED_TRACE(size);
    ChangedServer server(orders(), [size](std::string& flight, std::size_t) {
      flight.resize(size);
      return false;
    });
    expect_failed(ended_by(server.serve()), "ended the TLS handshake");
  }
}

TEST_F(HostileHandshakeOfServer, ThatIsResetSaysSo) {
  expect_failed(ended_by([](Fd& socket) {
                  std::string hello;
                  receive(socket, hello, 100);
                  socket.reset();
                }),
                "ECONNRESET");
}

TEST_F(HostileHandshakeOfServer, ThatIsNoneSaysWhatCame) {
  expect_failed(ended_by(answering("HTTP/1.1 400 Bad Request\r\n\r\n")), "plaintext HTTP");
  expect_failed(ended_by(answering("SSH-2.0-OpenSSH_9.2\r\n")), "not TLS");
}

// Records of each type in place of a ServerHello: data, ChangeCipherSpecs, alerts, another message
// of a handshake, one that is longer than any may be.
TEST_F(HostileHandshakeOfServer, ThatBeginsWithOtherRecordsIsRefused) {
  struct Opening {
    const char* hex;
    const char* detail;
  };
  for (const Opening& opening :
       {Opening{"17 0303 0004 64617461", ""},
        Opening{"14 0303 0001 01 14 0303 0001 01 14 0303 0001 01", ""},
        Opening{"15 0303 0002 0228", "handshake failure"}, Opening{"15 0303 0002 0100", ""},
        Opening{"16 0303 0004 14000000", ""}, Opening{"16 0303 ffff", ""}}) {
    SCOPED_TRACE(opening.hex);
    const Bytes bytes = from_hex(opening.hex);
    expect_failed(ended_by(answering({reinterpret_cast<const char*>(bytes.data()), bytes.size()})),
                  opening.detail);
  }
}

// Empty ones: OpenSSL takes some, not any number.
TEST_F(HostileHandshakeOfServer, ThatIsNothingButRecordsIsRefused) {
  std::string flood;
  for (int i = 0; i < 3'000; ++i) flood += std::string("\x16\x03\x03\0\0", 5);
  expect_failed(ended_by(answering(flood)), "");
}

// Offsets of a flight that are in a message: not in the header of a record, where a version may
// change without consequence, nor in a ChangeCipherSpec.
std::vector<std::size_t> message_bytes(std::string_view flight) {
  std::vector<std::size_t> offsets;
  for (std::size_t at = 0; at + ktls::kRecordHeaderSize <= flight.size();) {
    const auto header = ktls::RecordHeader::parse(
        std::as_bytes(std::span(flight)).subspan(at).first<ktls::kRecordHeaderSize>());
    const std::size_t begin = at + ktls::kRecordHeaderSize;
    at = begin + header.length;
    for (std::size_t i = begin; i < at && header.type != ContentType::kChangeCipherSpec; ++i)
      offsets.push_back(i);
  }
  return offsets;
}

// A bit of one is changed, at random: never served, and never more than a connection's end.
TEST_F(HostileHandshakeOfServer, WithAChangedBitIsNeverServed) {
  std::mt19937_64 chance(20261130);
  ChangedServer server(orders(), [&](std::string& flight, std::size_t before) {
    if (before != 0) return true;
    const auto offsets = message_bytes(flight);
    char& changed = flight[offsets[chance() % offsets.size()]];
    changed = static_cast<char>(changed ^ (1 << chance() % 8));
    return true;
  });
  const Backend backend(server.serve());
  start_for_target(backend.address());
  const long before = gateway->rss_kib();
  std::map<std::string, int> reasons;
  for (int i = 0; i < 150; ++i) ++reasons[ended().at("reason")];
  // A length that grew is waited for.
  EXPECT_EQ(reasons["backend_tls_failed"] + reasons["backend_timeout"], 150);
  EXPECT_GE(reasons["backend_tls_failed"], 100);
  if (!kSanitized) EXPECT_LE(gateway->rss_kib() - before, 4096);
}

// More certificates than a chain has, and one of many names.
TEST_F(HostileHandshakeOfServer, WithMoreCertificatesThanAChainHasIsRefused) {
  const TestCertificate certificate = orders();
  TlsBackendOptions many{.certificate = certificate};
  many.configure = [&](SSL_CTX* context) {
    for (int i = 0; i < 10; ++i) SSL_CTX_add1_chain_cert(context, certificate.x509.get());
  };
  const LogLine line = ended_by(over_tls(many, echo_over_tls));
  EXPECT_NE(line.at("detail").find("more than 10 certificates"), std::string::npos)
      << line.at("reason") << " " << line.at("detail");

  LeafSpec spec{.spiffe = {kHostileOrders}};
  for (int i = 0; i < 1'700; ++i)
    spec.dns.push_back("name-" + std::to_string(10'000 + i) + ".example.org");
  expect_failed(ended_by(over_tls({.certificate = orders(spec)}, echo_over_tls)),
                "excessive message size");
}

}  // namespace
}  // namespace sallyport::test
