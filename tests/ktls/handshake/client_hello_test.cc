// What is read of a ClientHello before OpenSSL sees it.
#include "ktls/handshake/client_hello.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "ktls/handshake/server_handshake.h"
#include "ktls/records/record.h"
#include "tests/ktls/handshake/loopback.h"

namespace sallyport::ktls::testing {
namespace {

class Hello : public ::testing::Test {
 protected:
  /// The first flight of a client that has, or has not, a session to resume.
  std::string hello(bool resumes) {
    SslSessionPtr session;
    if (resumes) {
      RoutedHandshake server(pki.context(), any_route());
      MemoryClient client({.certificate = &certificate});
      EXPECT_EQ(shuttle(server, client), ServerHandshake::Step::kDone);
      server.issue_tickets();
      deliver(server, client);
      (void)client.read();
      EXPECT_EQ(client.sessions().size(), 1U);
      SSL_SESSION_up_ref(client.sessions().front().get());
      session.reset(client.sessions().front().get());
    }
    MemoryClient client({.certificate = &certificate, .session = session.get()});
    EXPECT_FALSE(client.handshake());
    return client.take();
  }

  TestServer pki;
  test::TestCertificate certificate = pki.client();
};

TEST_F(Hello, SuspendsTheHandshakeUntilItIsDecidedOn) {
  for (const bool resumes : {false, true}) {
    ServerHandshake server(pki.context());
    const std::string sent = hello(resumes);
    server.feed(bytes_of(sent));
    ASSERT_EQ(server.advance(), ServerHandshake::Step::kHello);
    ClientHelloFragments fragments;
    EXPECT_TRUE(fragments.add(bytes_of(sent)));
    EXPECT_EQ(fragments.offers_resumption(), resumes);
    EXPECT_TRUE(server.output().empty()) << "nothing is answered before";
    EXPECT_TRUE(server.can_advance());
    EXPECT_EQ(server.advance(), ServerHandshake::Step::kHello) << "however often it is asked";
    server.accept({});
    EXPECT_EQ(server.advance(), ServerHandshake::Step::kWantRead);
    EXPECT_FALSE(server.output().empty());
  }
}

TEST_F(Hello, IsNoRecordWhereverItIsCut) {
  const std::string whole = hello(true);
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_FALSE(holds_record(bytes_of(whole.substr(0, size)))) << size;
  EXPECT_TRUE(holds_record(bytes_of(whole)));
}

TEST(HoldsRecord, WaitsForAWholeOneOnly) {
  EXPECT_FALSE(holds_record({}));
  for (const char type : {'\x14', '\x15', '\x16', '\x17'})
    EXPECT_FALSE(holds_record(bytes_of(std::string(1, type))));
  EXPECT_FALSE(holds_record(bytes_of(std::string("\x16\x03\x01\x00", 4))));
  EXPECT_FALSE(holds_record(bytes_of(std::string("\x16\x03\x01\x00\x01", 5))));
  EXPECT_TRUE(holds_record(bytes_of(std::string("\x16\x03\x01\x00\x01x", 6))));
  EXPECT_TRUE(holds_record(bytes_of(std::string("\x16\x03\x01\x00\x00", 5)))) << "an empty one";
}

TEST(HoldsRecord, DoesNotWaitForWhatCanNeverBeOne) {
  EXPECT_TRUE(holds_record(bytes_of("G")));
  EXPECT_TRUE(holds_record(bytes_of(std::string("\x16\x02\x00\x00\x10", 5)))) << "SSL 2";
  EXPECT_FALSE(holds_record(bytes_of(std::string("\x16\x03\x03\x41\x00", 5))));
  EXPECT_TRUE(holds_record(bytes_of(std::string("\x16\x03\x03\x41\x01", 5)))) << "too long";
}

// RFC 6066 3: a list's length, then type, length and name of each entry.
std::string server_name(std::string_view name, char type = 0) {
  const auto u16 = [](std::size_t value) {
    return std::string{static_cast<char>(value >> 8), static_cast<char>(value & 0xff)};
  };
  return u16(name.size() + 3) + type + u16(name.size()) + std::string(name);
}

TEST(ServerName, IsOneHostNameAsItCame) {
  for (const std::string& name :
       {std::string("Orders.Example.org"), std::string("\xff \n"), std::string(255, 'a')}) {
    const std::string body = server_name(name);
    EXPECT_EQ(parse_server_name(bytes_of(body)), name);
  }
}

TEST(ServerName, IsNothingWhereItIsMalformed) {
  const std::string good = server_name("a.test");
  for (std::size_t size = 0; size < good.size(); ++size)
    EXPECT_FALSE(parse_server_name(bytes_of(good.substr(0, size)))) << size;
  std::string two = server_name("a.test") + server_name("b.test").substr(2);
  two[1] = static_cast<char>(two.size() - 2);
  std::string short_name = good;
  short_name[4] = 5;
  for (const std::string& bad :
       {good + '\0', two, short_name, server_name(""), server_name("a.test", 1),
        server_name(std::string(256, 'a')), server_name(std::string_view("a\0b", 3))})
    EXPECT_FALSE(parse_server_name(bytes_of(bad))) << ::testing::PrintToString(bad);
}

TEST(Alpn, IsEachProtocolInItsOrder) {
  const std::string_view body("\x00\x0c\x02h2\x08http/1.1", 14);
  const auto offer = parse_alpn(bytes_of(body));
  ASSERT_TRUE(offer);
  EXPECT_EQ(*offer, (std::vector<std::string_view>{"h2", "http/1.1"}));
}

TEST(Alpn, IsNothingWhereItIsMalformed) {
  const std::string good("\x00\x0c\x02h2\x08http/1.1", 14);
  for (std::size_t size = 0; size < good.size(); ++size)
    EXPECT_FALSE(parse_alpn(bytes_of(good.substr(0, size)))) << size;
  for (const std::string_view bad :
       {std::string_view("\x00\x00", 2), std::string_view("\x00\x01\x00", 3),
        std::string_view("\x00\x03\x03h2", 5), std::string_view("\x00\x04\x02h2\x00", 6),
        std::string_view("\x00\x03\x02h2\x00", 6)})
    EXPECT_FALSE(parse_alpn(bytes_of(bad))) << ::testing::PrintToString(bad);
}

class Fragments : public Hello {
 protected:
  /// Handshake records of at most `most` bytes each.
  static std::string in_records(std::string_view message, std::size_t most) {
    std::string records;
    for (std::size_t at = 0; at < message.size(); at += most) {
      const std::string_view part = message.substr(at, most);
      records += std::string("\x16\x03\x01", 3);
      records += static_cast<char>(part.size() >> 8);
      records += static_cast<char>(part.size() & 0xff);
      records += part;
    }
    return records;
  }
  /// The beginning of a ClientHello that announces `size` bytes.
  static std::string announced(std::size_t size) {
    return {'\x01', static_cast<char>(size >> 16), static_cast<char>(size >> 8),
            static_cast<char>(size)};
  }
  static std::string text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
};

TEST(MaxFragmentLength, IsOneOfFourSizes) {
  EXPECT_EQ(parse_max_fragment_length(bytes_of("\x01")), 512);
  EXPECT_EQ(parse_max_fragment_length(bytes_of("\x04")), 4096);
}

TEST(MaxFragmentLength, IsNothingWhereItIsMalformed) {
  for (const std::string_view body : {std::string_view(), std::string_view("\0", 1),
                                      std::string_view("\x05"), std::string_view("\x01\x01")}) {
    EXPECT_FALSE(parse_max_fragment_length(bytes_of(body)));
  }
}

TEST_F(Fragments, AreJoinedToTheRecordThatTheyCouldHaveBeen) {
  const std::string whole = hello(true);
  for (const std::size_t most : {1, 2, 3, 5, 100, 16384}) {
    const std::string sent = in_records(std::string_view(whole).substr(5), most);
    for (const std::size_t piece : {1, 7, 4096}) {
      ClientHelloFragments fragments;
      for (std::size_t at = 0; at < sent.size(); at += piece) {
        const bool last = at + piece >= sent.size();
        ASSERT_EQ(fragments.add(bytes_of(sent.substr(at, piece))), last) << most << " " << at;
      }
      EXPECT_EQ(text(fragments.bytes()), whole);
    }
  }
}

TEST_F(Fragments, LeaveWhatFollowsTheClientHelloAsItCame) {
  const std::string whole = hello(false);
  const std::string rest = in_records("more of it", 3);
  ClientHelloFragments fragments;
  EXPECT_TRUE(fragments.add(bytes_of(in_records(std::string_view(whole).substr(5), 50) + rest)));
  EXPECT_EQ(text(fragments.bytes()), whole + rest);
}

TEST_F(Fragments, HoldNoMoreThanTheMessage) {
  const std::string message =
      announced(kMaxClientHello - 4) + std::string(kMaxClientHello - 4, 'x');
  const std::string sent = in_records(message, 1);
  ClientHelloFragments fragments;
  for (std::size_t at = 0; at < sent.size(); ++at) {
    ASSERT_EQ(fragments.add(bytes_of(sent.substr(at, 1))), at + 1 == sent.size());
    ASSERT_LE(fragments.bytes().size(), at / 6 + 1 + 2 * kRecordHeaderSize);
  }
  EXPECT_EQ(fragments.bytes().size(), kRecordHeaderSize + kMaxClientHello);
}

TEST_F(Fragments, AreNotWaitedForOnceTheyAnnounceTooMuch) {
  ClientHelloFragments fragments;
  EXPECT_FALSE(fragments.add(bytes_of(in_records(announced(kMaxClientHello - 3).substr(0, 3), 1))));
  EXPECT_TRUE(fragments.add(bytes_of(in_records(announced(kMaxClientHello - 3).substr(3), 1))));
}

TEST_F(Fragments, DoNotGrowBeyondARecordThatOpensslTakes) {
  const std::string message = announced(1000) + std::string(900, 'x');
  const std::string last = in_records(std::string(kMaxPlaintextSize, 'y'), kMaxPlaintextSize);
  ClientHelloFragments fragments;
  EXPECT_FALSE(fragments.add(bytes_of(in_records(message, 10))));
  EXPECT_TRUE(fragments.add(bytes_of(last)));
  EXPECT_EQ(text(fragments.bytes()), in_records(message, message.size()) + last);
}

TEST_F(Fragments, AreGivenToOpensslWithWhatIsNoneOfThem) {
  const std::string half = in_records(announced(100) + "half", 3);
  const std::string joined = in_records(announced(100) + "half", 8);
  for (const std::string& other :
       {std::string("\x15\x03\x01\x00\x02\x01\x00", 7), std::string("\x16\x03\x01\x00\x00", 5),
        std::string("GET"), std::string("\x16\x02\x00\x00\x10", 5)}) {
    ClientHelloFragments fragments;
    EXPECT_FALSE(fragments.add(bytes_of(half)));
    EXPECT_TRUE(fragments.add(bytes_of(other)));
    EXPECT_EQ(text(fragments.bytes()), joined + other);
  }
  ClientHelloFragments no_client_hello;
  EXPECT_TRUE(no_client_hello.add(bytes_of(in_records("\x02", 1))));
}

}  // namespace
}  // namespace sallyport::ktls::testing
