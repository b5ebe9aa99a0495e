#include "gateway/connection/proxy_opening.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cerrno>
#include <optional>
#include <string>
#include <vector>

#include "gateway/backends/proxy_header.h"
#include "gateway/connection/connect_backend.h"
#include "tests/gateway/connection/relay_fixture.h"
#include "tests/iouring/fixture.h"

namespace sallyport::gateway {
namespace {

class ProxyOpening : public RelayTest {
 protected:
  ProxyOpening() { route_.proxy = ProxyRule{.tlvs = {ProxyTlv::kIdentity}}; }
  void SetUp() override {
    make_ends();
    ktls::Outcome outcome;
    outcome.trust = std::make_shared<const ktls::PeerTrust>();
    connection_->set_peer(outcome);
  }
  std::string client_end() const { return client_->records->socket().local_address()->to_string(); }
  bool counted(const std::string& result) const {
    return registry_.scrape().contains("proxy_headers_total{direction=\"send\",result=\"" + result +
                                       "\"} 1\n");
  }
};

Task<void> connect_into(Client& client, RefusalPtr& refused) {
  auto backend = co_await connect_backend(client);
  if (!backend) refused = std::move(backend.error());
}

// The client has gone since it was accepted, say: its address was never known.
TEST_F(ProxyOpening, IsRefusedBeforeABackendIsTriedWhereNoHeaderCanBeMade) {
  RefusalPtr refused;
  shard_.ring->run(connect_into(*client_, refused));
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->reason, CloseReason::kInternalError);
  EXPECT_EQ(refused->failure.detail, "no PROXY header from - to " + client_end());
  EXPECT_TRUE(counted("internal_error"));
}

TEST_F(ProxyOpening, TellsTheEndsThatAProxySaid) {
  const ProxiedAddresses said{.source = *iouring::SocketAddress::parse("192.0.2.1:258"),
                              .destination = *iouring::SocketAddress::parse("192.0.2.2:443")};
  connection_->set_proxied(said);
  EXPECT_EQ(connection_->facts().client, "192.0.2.1:258");
  EXPECT_EQ(connection_->facts().proxy, "-") << "the fixture's client has no address";
  const auto header = make_proxy_header(*client_, {});
  ASSERT_TRUE(header) << header.error();
  ProxyHeaderReader reader;
  std::span<const std::byte> bytes(*header);
  ASSERT_EQ(reader.add(bytes), ProxyHeaderReader::State::kWhole);
  EXPECT_EQ(reader.addresses(), said);
  client_.reset();
  connection_.reset();
  EXPECT_TRUE(state_.proxied.empty());
}

// Nobody has proven anything to us: a backend would take a TLV ssl for that.
TEST_F(ProxyOpening, ClaimsNoTlsForALocalApplication) {
  client_.reset();
  connection_.reset();
  route_.proxy = ProxyRule{.tlvs = {ProxyTlv::kSsl}};
  SetUp();
  connection_->set_proxied({.source = *iouring::SocketAddress::parse("127.0.0.1:258"),
                            .destination = *iouring::SocketAddress::parse("127.0.0.1:443")});
  for (const bool local : {false, true}) {
    if (local) with_plaintext_from_client();
    const auto header = make_proxy_header(*client_, {});
    ASSERT_TRUE(header) << header.error();
    EXPECT_EQ(header->size() == kProxyFixedSize + kProxyIpv4Size, local);
  }
}

TEST_F(ProxyOpening, IsSentWholeOrNotAtAll) {
  const std::vector<std::byte> header(2000, std::byte{7});
  auto [near, far] = iouring::unix_pair(*shard_.ring);
  EXPECT_TRUE(send_proxy_header(state_, near, header, false));
  EXPECT_TRUE(counted("success"));

  // Of a buffer that is full.
  auto [full, unread] = iouring::unix_pair(*shard_.ring);
  iouring::Result<> sent;
  for (int i = 0; i < 100'000 && sent; ++i) sent = send_proxy_header(state_, full, header, false);
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().value, EAGAIN);
  EXPECT_TRUE(counted("failed"));

  far = {};
  sent = send_proxy_header(state_, near, header, false);
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().value, EPIPE);
}

}  // namespace
}  // namespace sallyport::gateway
