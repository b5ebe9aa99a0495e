// From the first byte of the handshake to records that the kernel makes, over TCP and against
// OpenSSL's client, as the gateway does it: wherever the client's stream is cut, no byte is lost,
// doubled or out of order. The same with records made in userspace, where no kernel is needed.
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "iouring/both.h"
#include "ktls/handshake/server_handshake.h"
#include "ktls/records/kernel_hand_off.h"
#include "ktls/records/kernel_tls_options.h"
#include "tests/iouring/socket_options.h"
#include "tests/ktls/handshake/loopback.h"
#include "tests/ktls/records/layer_fixture.h"
#include "tests/ktls/records/tls_stat.h"

namespace sallyport::ktls {
namespace {

using iouring::both;
using iouring::Socket;
using iouring::Task;
using testing::Bytes;
using testing::Kind;
using testing::Layer;
using testing::MemoryClient;
using testing::random_bytes;
using testing::Shard;
using testing::Story;

/// What the client does, and where its bytes are cut.
struct Script {
  testing::ClientSetup setup;
  std::vector<std::size_t> writes;  ///< sizes; sent in the same flight as Finished (in TLS 1.3)
  std::vector<std::size_t> key_updates;  ///< before these writes, by index
  std::size_t padding = 0;               ///< records are padded to multiples of it
  bool closes = true;                    ///< close_notify, else only the FIN
  bool fin = true;                       ///< right behind; else after it has heard everything
  std::size_t reply = 0;                 ///< bytes that the server sends
  /// From the end of what the client has to say, header of Finished and all, for every flight.
  std::vector<std::size_t> cuts_from_end;
};

struct Result {
  Story server;
  std::string client_heard;
  bool client_saw_close = false;
  bool resumed = false;
  std::size_t tickets = 0;
  std::size_t last_flight = 0;  ///< its size
};

std::string as_text(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// ---- the client

Task<void> send_flight(iouring::Ring& ring, Socket& wire, const std::string& flight,
                       const std::vector<std::size_t>& cuts_from_end) {
  std::vector<std::size_t> cuts;
  for (const std::size_t distance : cuts_from_end) {
    if (distance < flight.size()) cuts.push_back(flight.size() - distance);
  }
  std::ranges::sort(cuts);
  cuts.push_back(flight.size());
  std::size_t at = 0;
  for (const std::size_t cut : cuts) {
    const auto sent = co_await wire.send_all(testing::bytes_of(flight).subspan(at, cut - at));
    EXPECT_TRUE(sent);
    at = cut;
    co_await testing::iterate(ring, 3);
  }
}

/// Says everything that the script has, sealed in one go.
void say_all(MemoryClient& client, const Script& script, const std::string& data) {
  SSL_set_block_padding(client.ssl(), script.padding);
  std::size_t at = 0;
  for (std::size_t i = 0; i < script.writes.size(); ++i) {
    if (std::ranges::count(script.key_updates, i) != 0) {
      SSL_key_update(client.ssl(),
                     i % 2 == 0 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
    }
    EXPECT_TRUE(client.write(std::string_view(data).substr(at, script.writes[i])));
    at += script.writes[i];
  }
  if (script.closes) SSL_shutdown(client.ssl());
}

Task<void> run_client(iouring::Ring& ring, Socket& wire, const Script& script,
                      const std::string& data, Result& result) {
  MemoryClient client(script.setup);
  bool said = false;
  Bytes chunk(50'000);
  while (true) {
    if (!said && client.handshake()) {
      said = true;
      say_all(client, script, data);
    }
    const std::string flight = client.take();
    if (!flight.empty()) {
      co_await send_flight(ring, wire, flight, script.cuts_from_end);
      if (said && result.last_flight == 0) result.last_flight = flight.size();
    }
    if (said && script.fin) [[maybe_unused]]
      const auto shut = co_await wire.shutdown_write();
    const auto size = co_await wire.recv(chunk);
    if (!size || *size == 0) break;
    client.give(std::span(chunk).first(*size));
    if (said) result.client_heard += client.read();
  }
  result.client_saw_close = (SSL_get_shutdown(client.ssl()) & SSL_RECEIVED_SHUTDOWN) != 0;
  result.resumed = SSL_session_reused(client.ssl()) == 1;
  result.tickets = client.sessions().size();
  EXPECT_FALSE(client.failed());
}

// ---- the server: the gateway's way, without its policy

Task<Layer> serve_handshake(Shard& shard, Socket wire, std::shared_ptr<ServerContext> context,
                            bool in_kernel) {
  testing::RoutedHandshake handshake(std::move(context), testing::any_route());
  if (in_kernel) EXPECT_EQ(attach_kernel_tls(wire.descriptor()), 0);
  auto step = ServerHandshake::Step::kWantRead;
  while (step == ServerHandshake::Step::kWantRead) {
    const auto lease = co_await wire.recv(*shard.small);
    if (!lease || !*lease) {
      ADD_FAILURE() << "the client left in the handshake";
      co_return Layer();
    }
    handshake.feed(lease->bytes());
    step = handshake.advance();
    if (step == ServerHandshake::Step::kDone) handshake.issue_tickets();
    if (handshake.output().empty()) continue;
    const auto sent = co_await wire.send_all(handshake.output());
    EXPECT_TRUE(sent);
    handshake.output_sent();
  }
  if (step == ServerHandshake::Step::kFailed) {
    ADD_FAILURE() << handshake.failure().detail;
    co_return Layer();
  }
  const Outcome outcome = handshake.finish();
  Layer layer = userspace_records(std::move(wire), outcome.state, shard.pools(), outcome.leftover);
  if (in_kernel) layer = testing::into_kernel(std::move(layer), shard.pools());
  co_return layer;
}

Task<void> run_server(Shard& shard, Socket wire, std::shared_ptr<ServerContext> context,
                      bool in_kernel, const Bytes& reply, Result& result) {
  Layer layer = co_await serve_handshake(shard, std::move(wire), std::move(context), in_kernel);
  if (!layer) co_return;
  co_await testing::tell(*layer, result.server);
  co_await testing::send_in_pieces_and_close(*layer, reply, 20'000, reply.size());
}

Task<void> both_ends(Shard& shard, iouring::SocketPair& sockets,
                     std::shared_ptr<ServerContext> context, bool in_kernel, const Script& script,
                     const std::string& data, const Bytes& reply, Result& result) {
  co_await both(
      run_client(*shard.ring, sockets.left, script, data, result),
      run_server(shard, std::move(sockets.right), std::move(context), in_kernel, reply, result));
}

// ---- both

class HandOff : public ::testing::TestWithParam<RecordModel> {
 protected:
  void SetUp() override {
    if (in_kernel()) SALLYPORT_NEEDS_KTLS();
    stat_before_ = testing::tls_stat();
  }
  void TearDown() override {
    if (!in_kernel() || !testing::ktls_required()) return;
    testing::TlsStat after = testing::tls_stat();
    EXPECT_EQ(after["TlsTxSw"] - stat_before_["TlsTxSw"], connections_);
    EXPECT_EQ(after["TlsCurrTxSw"] + after["TlsCurrRxSw"], 0);
    EXPECT_EQ(after["TlsDecryptError"], stat_before_["TlsDecryptError"]);
  }
  bool in_kernel() const { return GetParam() == RecordModel::kKernel; }
  bool can_turn_keys() const { return !in_kernel() || testing::can_rekey(); }
  /// Keys and certificates are made once, for all tests.
  static testing::TestServer& pki() {
    static testing::TestServer made;
    made.settings.min_version = RecordVersion::kTls12;
    return made;
  }
  static const test::TestCertificate& certificate() {
    static const test::TestCertificate made = pki().client();
    return made;
  }

  /// Runs the script and checks that every byte came, in order, with the right end.
  Result play(const std::shared_ptr<ServerContext>& context, Script script) {
    // OpenSSL makes a session unusable when its connection ends.
    const SslSessionPtr copy(script.setup.session ? SSL_SESSION_dup(script.setup.session)
                                                  : nullptr);
    script.setup.session = copy.get();
    std::size_t size = 0;
    for (const std::size_t each : script.writes) size += each;
    const Bytes data = random_bytes(size, size);
    const Bytes reply = random_bytes(script.reply, script.reply);
    Result result;
    iouring::SocketPair sockets = iouring::tcp_pair(*shard_.ring);
    EXPECT_TRUE(set_option(sockets.left, IPPROTO_TCP, TCP_NODELAY, 1));
    EXPECT_TRUE(set_option(sockets.right, IPPROTO_TCP, TCP_NODELAY, 1));
    connections_ += in_kernel() ? 1 : 0;
    shard_.ring->run(
        both_ends(shard_, sockets, context, in_kernel(), script, as_text(data), reply, result));
    EXPECT_TRUE(result.server.data == data) << result.server.data.size() << " of " << data.size();
    EXPECT_EQ(result.server.end, script.closes ? Kind::kCloseNotify : Kind::kTruncated)
        << testing::to_string(result.server.end) << " " << to_string(result.server.error.failure);
    EXPECT_TRUE(result.client_heard == as_text(reply))
        << result.client_heard.size() << " of " << reply.size();
    EXPECT_TRUE(result.client_saw_close);
    return result;
  }

  /// A session to resume: after it a flight is Finished and what lies behind.
  SslSessionPtr session_of(const std::shared_ptr<ServerContext>& context,
                           std::uint8_t max_fragment_code = 0) {
    testing::RoutedHandshake server(context, testing::any_route());
    MemoryClient client({.certificate = &certificate(), .max_fragment_code = max_fragment_code});
    EXPECT_EQ(testing::shuttle(server, client), ServerHandshake::Step::kDone);
    server.issue_tickets();
    testing::deliver(server, client);
    (void)client.read();
    EXPECT_FALSE(client.sessions().empty());
    SSL_SESSION_up_ref(client.sessions().at(0).get());
    return SslSessionPtr(client.sessions().at(0).get());
  }

  Shard shard_;

 private:
  testing::TlsStat stat_before_;
  long connections_ = 0;
};

TEST_P(HandOff, LosesNothingWhereverTheFlightOfFinishedIsCut) {
  const auto context = pki().context();
  const SslSessionPtr session = session_of(context);
  Script script{.setup = {.certificate = &certificate(), .session = session.get()},
                .writes = {20, 1, 30},
                .key_updates = {},
                .padding = 0,
                .closes = true,
                .fin = true,
                .reply = 100,
                .cuts_from_end = {}};
  const Result whole = play(context, script);
  ASSERT_TRUE(whole.resumed);
  const std::size_t flight = whole.last_flight;
  // ChangeCipherSpec and Finished are 80 bytes, what lies behind is at least as much.
  ASSERT_GT(flight, 160u);
  ASSERT_LT(flight, 400u);
  for (std::size_t cut = 1; cut < flight && !HasFailure(); ++cut) {
    SCOPED_TRACE("cut " + std::to_string(cut) + " bytes before the end");
    script.cuts_from_end = {cut};
    script.fin = cut % 2 == 0;
    EXPECT_TRUE(play(context, script).resumed);
  }
  shard_.expect_idle();
}

/// OpenSSL's client ends the connection at a larger record, handshake messages and tickets
/// included.
TEST_P(HandOff, KeepsTheMaximumFragmentLengthThatTheClientAskedFor) {
  const auto context = pki().context();
  for (const std::uint8_t code : {1, 2, 3, 4}) {
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
      SCOPED_TRACE(std::to_string(256 << code) + " bytes, version " + std::to_string(version));
      const Script script{.setup = {.certificate = &certificate(),
                                    .min_version = version,
                                    .max_version = version,
                                    .max_fragment_code = code},
                          .writes = {5'000},
                          .key_updates = {},
                          .padding = 0,
                          .closes = true,
                          .fin = false,
                          .reply = 50'000,
                          .cuts_from_end = {}};
      const Result result = play(context, script);
      EXPECT_EQ(result.tickets, version == TLS1_3_VERSION ? 1U : 0U);
    }
  }
}

TEST_P(HandOff, KeepsTheMaximumFragmentLengthInAResumption) {
  const auto context = pki().context();
  const SslSessionPtr session = session_of(context, 1);
  const Result result = play(
      context,
      {.setup = {.certificate = &certificate(), .session = session.get(), .max_fragment_code = 1},
       .writes = {5'000},
       .key_updates = {},
       .padding = 0,
       .closes = true,
       .fin = false,
       .reply = 50'000,
       .cuts_from_end = {}});
  EXPECT_TRUE(result.resumed);
}

TEST_P(HandOff, CountsTheTicketsThatWentBefore) {
  for (const unsigned tickets : {0U, 1U, 2U, 5U}) {
    SCOPED_TRACE(tickets);
    pki().settings.tickets = tickets;
    const auto context = pki().context();
    const Result result = play(context, {.setup = {.certificate = &certificate()},
                                         .writes = {5'000},
                                         .key_updates = {},
                                         .padding = 0,
                                         .closes = true,
                                         .fin = false,
                                         .reply = 50'000,
                                         .cuts_from_end = {100}});
    EXPECT_EQ(result.tickets, tickets);
  }
  pki().settings.tickets = 1;
}

/// A third of the seeds is TLS 1.2, where nothing can lie behind Finished in its flight.
TEST_P(HandOff, LosesNothingWhateverTheSeed) {
  const auto context = pki().context();
  const SslSessionPtr session = session_of(context);
  const int seeds = testing::ktls_required() ? 150 : 2000;
  for (int seed = 1; seed <= seeds && !HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(static_cast<std::uint64_t>(seed));
    const bool tls12 = random() % 3 == 0;
    Script script{.setup = {.certificate = &certificate(),
                            .ciphersuites = std::string(
                                name(testing::kSuites[random() % std::size(testing::kSuites)])),
                            .min_version = TLS1_2_VERSION,
                            .max_version = tls12 ? TLS1_2_VERSION : TLS1_3_VERSION},
                  .writes = {},
                  .key_updates = {},
                  .padding = random() % 4 == 0 ? random() % 3000 : 0,
                  .closes = random() % 4 != 0,
                  .fin = random() % 2 == 0,
                  .reply = random() % 40'000,
                  .cuts_from_end = {}};
    // A session of one hash does not serve another: leave the suite to it.
    if (!tls12 && random() % 4 != 0) {
      script.setup.session = session.get();
      script.setup.ciphersuites.clear();
    }
    if (!script.closes) script.fin = true;
    for (std::uint64_t writes = random() % 6; writes > 0; --writes) {
      script.writes.push_back(1 + random() % (random() % 4 == 0 ? 16'384 : 200));
      if (!tls12 && can_turn_keys() && random() % 8 == 0) {
        script.key_updates.push_back(script.writes.size() - 1);
      }
    }
    for (std::uint64_t cuts = random() % 6; cuts > 0; --cuts) {
      script.cuts_from_end.push_back(random() % (random() % 2 == 0 ? 300 : 20'000));
    }
    play(context, script);
  }
  shard_.expect_idle();
}

INSTANTIATE_TEST_SUITE_P(To, HandOff,
                         ::testing::Values(RecordModel::kUserspace, RecordModel::kKernel),
                         [](const auto& info) { return std::string(to_string(info.param)); });

}  // namespace
}  // namespace sallyport::ktls
