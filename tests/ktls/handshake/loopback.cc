#include "tests/ktls/handshake/loopback.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "ktls/records/record_protection.h"

namespace sallyport::ktls::testing {
namespace {

std::chrono::seconds clock_offset{0};

}  // namespace

std::chrono::sys_seconds test_clock() {
  return wall_clock_now() + clock_offset;
}

void set_clock_offset(std::chrono::seconds offset) {
  clock_offset = offset;
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::string open_all(std::span<const std::byte> ciphertext, const SessionState& state) {
  CipherContexts contexts;
  RecordOpener opener(contexts, state.suite, state.rx, state.version);
  std::vector<std::byte> bytes(ciphertext.begin(), ciphertext.end());
  std::string plaintext;
  for (std::span<std::byte> rest = bytes; !rest.empty();) {
    const auto header = RecordHeader::parse(rest.first<kRecordHeaderSize>());
    const auto record = opener.open(rest.first(kRecordHeaderSize + header.length));
    if (!record) return "cannot be opened";
    plaintext.append(reinterpret_cast<const char*>(record->content.data()), record->content.size());
    rest = rest.subspan(kRecordHeaderSize + header.length);
  }
  return plaintext;
}

std::vector<std::byte> seal(std::string_view text, const SessionState& state) {
  CipherContexts contexts;
  RecordSealer sealer(contexts, state.suite, state.tx, state.version);
  const iovec span{const_cast<char*>(text.data()), text.size()};
  PlaintextCursor cursor({&span, 1});
  std::vector<std::byte> out(sealed_size(text.size(), record_overhead(state.version, state.suite)));
  const auto size = sealer.seal(ContentType::kApplicationData, cursor, out);
  EXPECT_TRUE(size && *size == out.size());
  return out;
}

TestServer::TestServer() {
  settings.tuned_openssl = std::getenv("SALLYPORT_TEST_STOCK") == nullptr;
  set_clock_offset(std::chrono::seconds(0));
  files.ca.push_back({std::nullopt, dir.write("ca.pem", authority.cert_pem())});
  serve_with(test::KeyType::kEcdsaP256);
}

void TestServer::serve_with(test::KeyType type) {
  own = authority.issue({.cn = "gateway", .dns = {"gateway.test"}, .key_type = type});
  files.pairs = {{dir.write("own.pem", own.chain_pem), dir.write_secret("own.key", own.key_pem)}};
}

std::expected<std::shared_ptr<const Credentials>, CredentialsError> TestServer::load() const {
  return load_usable_credentials(files, settings);
}

std::shared_ptr<ServerContext> TestServer::context(std::string_view listener_set) const {
  auto credentials = load();
  if (!credentials) {
    ADD_FAILURE() << credentials.error().message();
    return nullptr;
  }
  auto made = ServerContext::create(*credentials, listener_set, test_clock);
  if (!made) {
    ADD_FAILURE() << made.error().message();
    return nullptr;
  }
  return *made;
}

std::shared_ptr<ClientContext> TestServer::client_context(ClientContext::Presents presents) const {
  auto credentials = load();
  if (!credentials) {
    ADD_FAILURE() << credentials.error().message();
    return nullptr;
  }
  auto made = ClientContext::create(*credentials, presents, test_clock);
  if (!made) {
    ADD_FAILURE() << made.error().message();
    return nullptr;
  }
  return *made;
}

test::TestCertificate TestServer::client(test::KeyType type) const {
  return authority.issue(
      {.cn = "client", .spiffe = {"spiffe://example.org/ns/shop/sa/web"}, .key_type = type});
}

RouteByHello any_route() {
  return [](const ClientHello&) { return std::string(); };
}

RoutedHandshake::Step RoutedHandshake::advance() {
  const Step step = ServerHandshake::advance();
  if (step != Step::kHello) return step;
  const auto alpn = route_(hello());
  if (alpn) {
    accept({.alpn = *alpn,
            .clients = clients,
            .context = context,
            .ticket_binding = ticket_binding,
            .certificate = certificate});
  } else {
    reject({.result = alpn.error(), .detail = "by the test"});
  }
  return ServerHandshake::advance();
}

void deliver(RoutedHandshake& server, MemoryClient& client) {
  client.give(server.output());
  server.output_sent();
}

ServerHandshake::Step shuttle(RoutedHandshake& server, MemoryClient& client, std::size_t piece) {
  auto step = ServerHandshake::Step::kWantRead;
  for (bool moved = true; moved;) {
    (void)client.handshake();
    const std::string sent = client.take();
    for (std::size_t at = 0; at < sent.size(); at += piece) {
      server.feed(bytes_of(sent).subspan(at, std::min(piece, sent.size() - at)));
      step = server.advance();
      if (piece >= sent.size()) break;
    }
    moved = !sent.empty() || !server.output().empty();
    deliver(server, client);
  }
  (void)client.read();  // in TLS 1.3 the client learns of a refusal only by reading
  return step;
}

ClientHandshake::Step shuttle(ClientHandshake& client, MemoryServer& server, std::size_t piece) {
  auto step = client.advance();
  for (bool moved = true; moved;) {
    server.give(client.output());
    moved = !client.output().empty();
    client.output_sent();
    (void)server.handshake();
    const std::string sent = server.take();
    moved = moved || !sent.empty();
    for (std::size_t at = 0; at < sent.size() && step != ClientHandshake::Step::kFailed;) {
      const std::size_t size = std::min(piece, sent.size() - at);
      client.feed(bytes_of(sent).subspan(at, size));
      step = client.advance();
      at += size;
    }
  }
  (void)server.read();  // an alert behind our Finished
  return step;
}

}  // namespace sallyport::ktls::testing
