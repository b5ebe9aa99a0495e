// Our record layers facing OpenSSL's own: handshake in memory, then our half of the connection goes
// on from the secrets alone.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <random>
#include <string>
#include <thread>

#include "iouring/both.h"
#include "ktls/base/openssl_handles.h"
#include "ktls/records/userspace_records.h"
#include "tests/ktls/records/layer_fixture.h"
#include "tests/ktls/records/tls12_state.h"
#include "tests/support/pki.h"

namespace sallyport::ktls {
namespace {

using iouring::both;
using iouring::Task;
using testing::append;
using testing::Bytes;
using testing::Kind;
using testing::Layer;
using testing::random_bytes;
using testing::Shard;
using testing::Story;

struct Case {
  testing::Protection protection;
  Role role;          ///< ours
  RecordModel model;  ///< ours
};

/// Secrets by their key log label.
using Secrets = std::map<std::string, Bytes>;
Secrets* g_secrets = nullptr;  // the key log callback has no argument of its own

void log_key(const SSL*, const char* line) {
  const std::string text(line);
  const std::size_t first = text.find(' ');
  const std::size_t second = text.find(' ', first + 1);
  (*g_secrets)[text.substr(0, first)] = testing::from_hex(text.substr(second + 1));
}

SslCtxPtr make_context(Role role, const testing::Protection& protection,
                       const test::TestCertificate& certificate) {
  SslCtxPtr context(SSL_CTX_new(role == Role::kServer ? TLS_server_method() : TLS_client_method()));
  const bool tls12 = protection.version == RecordVersion::kTls12;
  SSL_CTX_set_min_proto_version(context.get(), tls12 ? TLS1_2_VERSION : TLS1_3_VERSION);
  SSL_CTX_set_max_proto_version(context.get(), tls12 ? TLS1_2_VERSION : TLS1_3_VERSION);
  SSL_CTX_set_ciphersuites(context.get(), std::string(name(protection.suite)).c_str());
  for (const Tls12Suite& suite : kTls12Suites) {
    if (suite.records == protection.suite && suite.name.starts_with("ECDHE-ECDSA")) {
      SSL_CTX_set_cipher_list(context.get(), std::string(suite.name).c_str());
    }
  }
  if (role == Role::kServer) {
    SSL_CTX_use_certificate(context.get(), certificate.x509.get());
    SSL_CTX_use_PrivateKey(context.get(), certificate.key.get());
  }
  return context;
}

/// Moves what `from` wants to send into `to`; false when there was nothing.
bool move_bytes(SSL* from, SSL* to) {
  Bytes bytes(100'000);
  const int size = BIO_read(SSL_get_wbio(from), bytes.data(), static_cast<int>(bytes.size()));
  if (size <= 0) return false;
  EXPECT_EQ(BIO_write(SSL_get_rbio(to), bytes.data(), size), size);
  return true;
}

/// A peer whose records OpenSSL makes, running in a thread of its own over `fd`.
class OpensslPeer {
 public:
  struct Plan {
    const Bytes* to_send;
    std::size_t expected;          ///< bytes of ours to wait for before it closes
    std::size_t largest = 30'000;  ///< of one SSL_write
    double key_updates = 0;        ///< chance before each write
    std::uint64_t seed = 1;
  };

  OpensslPeer(SslPtr ssl, int fd) : ssl_(std::move(ssl)), fd_(fd) {
    ::fcntl(fd_, F_SETFL, ::fcntl(fd_, F_GETFL) | O_NONBLOCK);
    SSL_set_bio(ssl_.get(), BIO_new_socket(fd_, BIO_NOCLOSE), nullptr);
    BIO_up_ref(SSL_get_rbio(ssl_.get()));
    SSL_set0_wbio(ssl_.get(), SSL_get_rbio(ssl_.get()));
    SSL_set_mode(ssl_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  }
  SSL* ssl() { return ssl_.get(); }

  void start(Plan plan) {
    thread_ = std::thread([this, plan] {
      run(plan);
      // Whatever went wrong here must end the other side too.
      if (!failure.empty()) ::shutdown(fd_, SHUT_RDWR);
    });
  }
  void join() { thread_.join(); }

  Bytes heard;
  std::string failure;  ///< empty: all went well
  int key_updates = 0;
  bool saw_close_notify = false;

 private:
  bool wait(short events) {
    pollfd entry{fd_, events, 0};
    return ::poll(&entry, 1, 30'000) > 0;
  }

  void run(const Plan& plan) {
    std::mt19937_64 random(plan.seed);
    std::uniform_real_distribution<double> chance(0, 1);
    std::span<const std::byte> rest = *plan.to_send;
    Bytes chunk(20'000);
    bool closed = false;
    while (!saw_close_notify || !closed) {
      bool moved = false;
      if (!rest.empty()) {
        if (size_ == 0 && chance(random) < plan.key_updates) {
          const int kind =
              random() % 2 == 0 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED;
          if (SSL_get_key_update_type(ssl()) == SSL_KEY_UPDATE_NONE &&
              SSL_key_update(ssl(), kind) == 1) {
            ++key_updates;
          }
        }
        // A write that must be retried is retried with the same size.
        if (size_ == 0) size_ = std::min<std::size_t>(rest.size(), 1 + random() % plan.largest);
        const int written = SSL_write(ssl(), rest.data(), static_cast<int>(size_));
        if (written > 0) {
          rest = rest.subspan(static_cast<std::size_t>(written));
          size_ = 0;
          moved = true;
        } else if (!retry(written)) {
          return;
        }
      } else if (!closed && heard.size() >= plan.expected) {
        SSL_shutdown(ssl());
        closed = true;
        moved = true;
      }
      if (saw_close_notify) {
        if (!moved && !wait(POLLOUT)) {
          failure = "no room to send for half a minute";
          return;
        }
        continue;
      }
      const int size = SSL_read(ssl(), chunk.data(), static_cast<int>(chunk.size()));
      if (size > 0) {
        append(heard, std::span(chunk).first(static_cast<std::size_t>(size)));
        moved = true;
      } else if (SSL_get_error(ssl(), size) == SSL_ERROR_ZERO_RETURN) {
        saw_close_notify = moved = true;  // which ends our direction only (RFC 8446 6.1)
      } else if (!retry(size)) {
        return;
      }
      if (!moved) {
        const bool writing = !rest.empty();
        if (!wait(static_cast<short>(POLLIN | (writing ? POLLOUT : 0)))) {
          failure = "nothing moved for half a minute";
          return;
        }
      }
    }
  }

  bool retry(int result) {
    const int error = SSL_get_error(ssl(), result);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return true;
    failure = "SSL error " + std::to_string(error) + ": " + OpensslError::drain().text;
    return false;
  }

  SslPtr ssl_;
  int fd_;
  std::size_t size_ = 0;  ///< of the write under way
  std::thread thread_;
};

class FacingOpenssl : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (in_kernel()) SALLYPORT_NEEDS_KTLS();
  }
  bool in_kernel() const { return GetParam().model == RecordModel::kKernel; }
  bool tls12() const { return GetParam().protection.version == RecordVersion::kTls12; }
  bool can_turn_keys() const { return !tls12() && (!in_kernel() || testing::can_rekey()); }

  void connect() {
    const Case chosen = GetParam();
    const Role theirs = chosen.role == Role::kServer ? Role::kClient : Role::kServer;
    static const test::TestAuthority authority;
    static const test::TestCertificate certificate = authority.issue({});
    const SslCtxPtr our_context = make_context(chosen.role, chosen.protection, certificate);
    const SslCtxPtr their_context = make_context(theirs, chosen.protection, certificate);
    // As a server we send no ticket here, so that our sequence number starts at 0.
    if (chosen.role == Role::kServer) SSL_CTX_set_num_tickets(our_context.get(), 0);
    Secrets secrets;
    g_secrets = &secrets;
    SSL_CTX_set_keylog_callback(our_context.get(), log_key);

    SslPtr ours(SSL_new(our_context.get()));
    SslPtr peer(SSL_new(their_context.get()));
    for (SSL* ssl : {ours.get(), peer.get()}) {
      SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    }
    (chosen.role == Role::kServer ? SSL_set_accept_state : SSL_set_connect_state)(ours.get());
    (theirs == Role::kServer ? SSL_set_accept_state : SSL_set_connect_state)(peer.get());
    for (int i = 0;
         i < 10 && !(SSL_is_init_finished(ours.get()) && SSL_is_init_finished(peer.get())); ++i) {
      if (!SSL_is_init_finished(ours.get())) SSL_do_handshake(ours.get());
      move_bytes(ours.get(), peer.get());
      if (!SSL_is_init_finished(peer.get())) SSL_do_handshake(peer.get());
      // A server that has finished wrote its tickets too: those stay for the record layer.
      if (!SSL_is_init_finished(ours.get())) move_bytes(peer.get(), ours.get());
    }
    ASSERT_TRUE(SSL_is_init_finished(ours.get()) && SSL_is_init_finished(peer.get()));
    Bytes leftover(20'000);
    const int size = BIO_read(SSL_get_wbio(peer.get()), leftover.data(), 20'000);
    leftover.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
    EXPECT_EQ(leftover.empty(), chosen.role == Role::kServer || tls12());

    const CipherSuite suite = chosen.protection.suite;
    const TrafficSecret client(secrets["CLIENT_TRAFFIC_SECRET_0"]);
    const TrafficSecret server(secrets["SERVER_TRAFFIC_SECRET_0"]);
    const bool serving = chosen.role == Role::kServer;
    const SessionState state =
        tls12()
            ? testing::tls12_state(ours.get(), suite, chosen.role)
            : SessionState{suite, {serving ? client : server, 0}, {serving ? server : client, 0}};
    iouring::SocketPair sockets = iouring::tcp_pair(*shard_.ring);
    descriptor_ = iouring::FileDescriptor(::dup(sockets.left.descriptor()));
    ASSERT_TRUE(descriptor_);
    layer_ =
        userspace_records(std::move(sockets.right), state, shard_.pools(), leftover, chosen.role);
    if (in_kernel()) layer_ = testing::into_kernel(std::move(layer_), shard_.pools(), chosen.role);
    peer_.emplace(std::move(peer), descriptor_.get());
  }

  Shard shard_;
  iouring::FileDescriptor descriptor_;
  Layer layer_;
  std::optional<OpensslPeer> peer_;
};

Task<void> exchange(RecordLayer& layer, const Bytes& data, std::size_t largest, Story& story) {
  co_await both(testing::send_in_pieces(layer, data, largest, 5), testing::tell(layer, story));
  // Not before: after its close_notify a layer answers no KeyUpdate.
  const auto closed = co_await layer.send_close();
  EXPECT_TRUE(closed);
}

TEST_P(FacingOpenssl, CarriesMegabytesBothWaysUnderKeyUpdates) {
  for (const double key_updates : {0.0, 0.1}) {
    if (key_updates > 0 && !can_turn_keys()) continue;
    connect();
    const Bytes down = random_bytes(testing::bulk(4'000'000), 1);
    const Bytes up = random_bytes(testing::bulk(5'000'000), 2);
    Story story;
    peer_->start({.to_send = &up, .expected = down.size(), .key_updates = key_updates, .seed = 3});
    shard_.ring->run(exchange(*layer_, down, 150'000, story));
    peer_->join();
    EXPECT_EQ(peer_->failure, "");
    EXPECT_TRUE(peer_->saw_close_notify);
    EXPECT_TRUE(peer_->heard == down);
    EXPECT_TRUE(story.data == up);
    EXPECT_EQ(story.end, Kind::kCloseNotify);
    EXPECT_EQ(layer_->counters().key_updates_received,
              static_cast<std::uint32_t>(peer_->key_updates));
    if (key_updates > 0) EXPECT_GT(layer_->counters().key_updates_sent, 0u);
  }
}

Task<void> echo(RecordLayer& layer) {
  while (true) {
    Received received = co_await layer.receive();
    if (received.kind != Kind::kData) {
      EXPECT_EQ(received.kind, Kind::kCloseNotify);
      break;
    }
    const auto sent = co_await layer.send(std::move(received));
    EXPECT_TRUE(sent) << to_string(sent.error().failure) << " " << sent.error().sys_errno;
  }
  const auto closed = co_await layer.send_close();
  EXPECT_TRUE(closed);
}

TEST_P(FacingOpenssl, EchoesRecordsOfAllSizesAndPaddings) {
  for (const std::size_t padding : {0, 512, 16384}) {
    for (const std::size_t largest : {600, 40'000}) {
      SCOPED_TRACE("padding to " + std::to_string(padding) + ", writes up to " +
                   std::to_string(largest));
      connect();
      SSL_set_block_padding(peer_->ssl(), padding);
      SSL_set_max_send_fragment(peer_->ssl(), padding == 512 ? 1000 : 16384);
      const Bytes data =
          random_bytes(testing::bulk(largest < 1000 ? 200'000 : 1'000'000), padding + largest);
      peer_->start({.to_send = &data,
                    .expected = data.size(),
                    .largest = largest,
                    .key_updates = can_turn_keys() ? 0.02 : 0,
                    .seed = padding});
      shard_.ring->run(echo(*layer_));
      peer_->join();
      EXPECT_EQ(peer_->failure, "");
      EXPECT_TRUE(peer_->heard == data);
    }
  }
  shard_.expect_idle();
}

std::vector<Case> every_case() {
  std::vector<Case> cases;
  for (const RecordModel model : {RecordModel::kUserspace, RecordModel::kKernel}) {
    for (const Role role : {Role::kServer, Role::kClient}) {
      for (const auto& protection : testing::kProtections) {
        cases.push_back({protection, role, model});
      }
    }
  }
  return cases;
}

std::string name_of(const ::testing::TestParamInfo<Case>& info) {
  const auto& [protection, role, model] = info.param;
  return testing::to_string(protection) + (role == Role::kServer ? "_server_" : "_client_") +
         std::string(to_string(model));
}

INSTANTIATE_TEST_SUITE_P(Each, FacingOpenssl, ::testing::ValuesIn(every_case()), name_of);

}  // namespace
}  // namespace sallyport::ktls
