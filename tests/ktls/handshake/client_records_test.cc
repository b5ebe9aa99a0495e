// From the handshake of our client's side to records: against OpenSSL's server, which may send
// right behind its Finished, and against our own server's side.
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "iouring/both.h"
#include "ktls/handshake/client_handshake.h"
#include "ktls/handshake/server_handshake.h"
#include "ktls/handshake/session_store.h"
#include "ktls/records/userspace_records.h"
#include "tests/ktls/handshake/loopback.h"
#include "tests/ktls/records/layer_fixture.h"

namespace sallyport::ktls::testing {
namespace {

using iouring::both;
using iouring::Socket;
using iouring::Task;

std::optional<std::string> any_server(const PeerTrust&) {
  return std::nullopt;
}

constexpr Sha256 kScope{1};

std::string text_of_bytes(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class ClientEnd : public ::testing::Test {
 protected:
  TestServer pki;
  test::TestCertificate certificate = pki.authority.issue({.dns = {"orders.test"}});
  Shard shard;
};

struct VersionAndModel {
  RecordVersion version;
  RecordModel model;
};
constexpr VersionAndModel kVersionsAndModels[] = {
    {RecordVersion::kTls12, RecordModel::kUserspace},
    {RecordVersion::kTls12, RecordModel::kKernel},
    {RecordVersion::kTls13, RecordModel::kUserspace},
    {RecordVersion::kTls13, RecordModel::kKernel},
};

class ClientRecords : public ClientEnd, public ::testing::WithParamInterface<VersionAndModel> {
 protected:
  void SetUp() override {
    if (GetParam().model == RecordModel::kKernel) SALLYPORT_NEEDS_KTLS();
  }
  static bool tls12() { return GetParam().version == RecordVersion::kTls12; }
  static ClientTerms terms() { return {.min_version = GetParam().version, .refuse = any_server}; }
  static int version() { return tls12() ? TLS1_2_VERSION : TLS1_3_VERSION; }

  // Our end behind the handshake, as the gateway makes it.
  Layer records_of(Socket socket, const Outcome& outcome, std::unique_ptr<TicketSink> tickets) {
    Layer layer = userspace_records(std::move(socket), outcome.state, shard.pools(),
                                    outcome.leftover, Role::kClient);
    layer->collect_tickets(std::move(tickets));
    if (GetParam().model == RecordModel::kUserspace) return layer;
    return into_kernel(std::move(layer), shard.pools(), Role::kClient);
  }
};
std::string name_of_model(const ::testing::TestParamInfo<VersionAndModel>& info) {
  return std::string(info.param.version == RecordVersion::kTls12 ? "Tls12_" : "Tls13_") +
         std::string(to_string(info.param.model));
}
INSTANTIATE_TEST_SUITE_P(Each, ClientRecords, ::testing::ValuesIn(kVersionsAndModels),
                         name_of_model);

// ---- against OpenSSL's server

// What `layer` and a server that has sent `sent` make of each other.
Task<void> hear_and_answer(RecordLayer& layer, Socket& wire, std::string sent, Story& story,
                           Bytes& answer) {
  const auto went = co_await wire.send_all(bytes_of(sent));
  EXPECT_TRUE(went);
  const auto ended = co_await wire.shutdown_write();
  EXPECT_TRUE(ended);
  co_await tell(layer, story);
  co_await send_in_pieces_and_close(layer, bytes_of("from the client"), 15, 1);
  Bytes piece(4096);
  while (true) {
    const auto size = co_await wire.recv(piece);
    EXPECT_TRUE(size);
    if (!size || *size == 0) break;
    append(answer, std::span(piece).first(*size));
  }
}

// What follows Finished in the flight is cut at every byte: some of it is leftover of the
// handshake, the rest comes by the socket. In TLS 1.3 there are tickets in front of the data, which
// are taken wherever they are.
TEST_P(ClientRecords, LoseNothingBehindTheFinishedOfTheServer) {
  const auto context = pki.client_context();
  std::size_t size = 1;
  for (std::size_t cut = 0; cut <= size && !HasFailure(); ++cut) {
    SCOPED_TRACE(cut);
    MemoryServer server({.certificate = &certificate,
                         .min_version = version(),
                         .max_version = version(),
                         .tickets = 2});
    ClientHandshake client(context, terms());
    auto step = client.advance();
    bool server_done = false;
    while (!server_done) {
      server.give(client.output());
      client.output_sent();
      server_done = server.handshake();
      if (server_done) break;
      client.feed(bytes_of(server.take()));
      step = client.advance();
      ASSERT_NE(step, ClientHandshake::Step::kFailed) << client.failure().detail;
    }
    const bool finished_is_to_come = step == ClientHandshake::Step::kWantRead;  // TLS 1.2
    EXPECT_EQ(finished_is_to_come, tls12());
    std::string flight = server.take();
    const std::size_t own = flight.size();
    ASSERT_TRUE(server.write("hello"));
    ASSERT_TRUE(server.write("world"));
    SSL_shutdown(server.ssl());
    flight += server.take();
    // In TLS 1.2 the flight begins with ChangeCipherSpec and Finished, in TLS 1.3 with tickets.
    const std::size_t first = finished_is_to_come ? own : 0;
    size = flight.size() - first;
    if (cut > size) break;  // sizes of tickets differ by the random numbers in them
    client.feed(bytes_of(flight).first(first + cut));
    ASSERT_EQ(client.advance(), ClientHandshake::Step::kDone) << client.failure().detail;
    client.intern_trust();
    const auto sessions = std::make_shared<SessionStore>();
    auto tickets = client.collect_sessions(
        [sessions](ClientSession session) { sessions->remember(kScope, std::move(session)); });
    const Outcome outcome = client.finish();
    EXPECT_EQ(outcome.leftover.size(), cut);

    iouring::SocketPair sockets = iouring::tcp_pair(*shard.ring);
    const Layer layer = records_of(std::move(sockets.right), outcome, std::move(tickets));
    Story story;
    Bytes answer;
    shard.ring->run(
        hear_and_answer(*layer, sockets.left, flight.substr(first + cut), story, answer));
    EXPECT_EQ(text_of_bytes(story.data), "helloworld");
    EXPECT_EQ(story.end, Kind::kCloseNotify) << to_string(story.error.failure);
    server.give(answer);
    EXPECT_EQ(server.read(), "from the client");
    EXPECT_NE(sessions->take(kScope, test_clock()), nullptr);
  }
  EXPECT_GT(size, 40U);
  shard.expect_idle();
}

// A server may send before it has heard the client's Finished (RFC 8446 4.4.4): in one flight with
// its own, and under its application keys.
TEST_F(ClientEnd, OpensWhatAServerSendsBeforeOurFinished) {
  MemoryServer server({.certificate = &certificate, .min_version = TLS1_3_VERSION});
  ClientHandshake client(pki.client_context(), {.refuse = any_server});
  ASSERT_EQ(client.advance(), ClientHandshake::Step::kWantRead);
  server.give(client.output());
  client.output_sent();
  char nothing[16];
  std::size_t size = 0;
  ASSERT_EQ(SSL_read_early_data(server.ssl(), nothing, sizeof nothing, &size),
            SSL_READ_EARLY_DATA_FINISH);
  ASSERT_EQ(SSL_write_early_data(server.ssl(), "early", 5, &size), 1);
  client.feed(bytes_of(server.take()));
  ASSERT_EQ(client.advance(), ClientHandshake::Step::kDone) << client.failure().detail;
  server.give(client.output());
  client.output_sent();
  EXPECT_TRUE(server.handshake());
  const Outcome outcome = client.finish();
  EXPECT_EQ(outcome.state.rx.rec_seq, 0U);
  EXPECT_EQ(open_all(outcome.leftover, outcome.state), "early");
  server.give(seal("late", outcome.state));
  EXPECT_EQ(server.read(), "late");
}

// ---- against our own server

struct Handshakes {
  Outcome client, server;
};

// Both to their ends, with `tickets` of the server's among what the client is left with.
void meet(ClientHandshake& client, RoutedHandshake& server, Handshakes& ended) {
  auto ours = client.advance();
  auto theirs = ServerHandshake::Step::kWantRead;
  while (theirs == ServerHandshake::Step::kWantRead) {
    server.feed(client.output());
    client.output_sent();
    theirs = server.advance();
    if (theirs == ServerHandshake::Step::kDone) server.issue_tickets();
    client.feed(server.output());
    server.output_sent();
    ours = client.advance();
    ASSERT_NE(ours, ClientHandshake::Step::kFailed) << client.failure().detail;
  }
  ASSERT_EQ(theirs, ServerHandshake::Step::kDone) << server.failure().detail;
  ASSERT_EQ(ours, ClientHandshake::Step::kDone);
  ended.server = server.finish();
  ended.client = client.finish();
}

/// One end: what it sends, and what it hears.
struct End {
  Layer layer;
  Bytes data;
  Story heard;
};

Task<void> say_and_hear(End& end) {
  co_await both(tell(*end.layer, end.heard),
                send_in_pieces_and_close(*end.layer, end.data, 20'000, 7));
}

Task<void> talk(End& left, End& right) {
  co_await both(say_and_hear(left), say_and_hear(right));
}

TEST_F(ClientEnd, ExchangesDataWithOurServersEnd) {
  pki.settings.tickets = 2;
  pki.own = pki.authority.issue({.dns = {"orders.test"}});
  pki.files.pairs = {{pki.dir.write("own.pem", pki.own.chain_pem),
                      pki.dir.write_secret("own.key", pki.own.key_pem)}};
  const std::string_view protocols[] = {"h2"};
  ClientHandshake client(pki.client_context(ClientContext::Presents::kCertificates),
                         {.server_name = "orders.test", .alpn = protocols, .refuse = any_server});
  RoutedHandshake server(pki.context(), [](const ClientHello& hello) {
    EXPECT_EQ(hello.sni, "orders.test");
    return std::string("h2");
  });
  Handshakes ended;
  meet(client, server, ended);
  if (HasFatalFailure()) return;
  EXPECT_EQ(ended.client.trust->identity, ended.server.trust->identity);
  EXPECT_EQ(ended.client.version, ended.server.version);
  EXPECT_EQ(ended.client.group, ended.server.group);
  EXPECT_EQ(ended.client.alpn, "h2");
  EXPECT_EQ(ended.server.alpn, "h2");
  EXPECT_TRUE(ended.client.certificate_requested);
  EXPECT_FALSE(ended.server.certificate_requested);
  EXPECT_FALSE(ended.client.leftover.empty()) << "tickets";

  iouring::SocketPair sockets = iouring::unix_pair(*shard.ring);
  End left{.layer = userspace_records(std::move(sockets.left), ended.client.state, shard.pools(),
                                      ended.client.leftover, Role::kClient),
           .data = random_bytes(300'000, 1),
           .heard = {}};
  End right{.layer = userspace_records(std::move(sockets.right), ended.server.state, shard.pools(),
                                       ended.server.leftover, Role::kServer),
            .data = random_bytes(500'000, 2),
            .heard = {}};
  shard.ring->run(talk(left, right));
  EXPECT_TRUE(right.heard.data == left.data);
  EXPECT_TRUE(left.heard.data == right.data);
  EXPECT_EQ(right.heard.end, Kind::kCloseNotify);
  EXPECT_EQ(left.heard.end, Kind::kCloseNotify);
}

}  // namespace
}  // namespace sallyport::ktls::testing
