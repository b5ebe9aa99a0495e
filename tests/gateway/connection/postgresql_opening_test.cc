#include "gateway/connection/postgresql_opening.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace sallyport::gateway {
namespace {

using namespace std::string_literals;
using Next = PostgresqlOpening::Next;
using Steps = std::vector<Next>;

const std::string kSslRequest = "\0\0\0\x08\x04\xd2\x16\x2f"s;
const std::string kGssencRequest = "\0\0\0\x08\x04\xd2\x16\x30"s;
const std::string kCancelRequest = "\0\0\0\x10\x04\xd2\x16\x2e\0\0\x30\x39secr"s;
const std::string kStartup = "\0\0\0\x15\0\x03\0\0user\0alice\0\0"s;
const std::string kClientHello = "\x16\x03\x01\x02\0";

std::span<const std::byte> wire_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

// What each of `pieces` leads to.
Steps steps(PostgresqlOpening& opening, const std::vector<std::string>& pieces) {
  Steps all;
  for (const std::string& piece : pieces) all.push_back(opening.add(wire_of(piece)));
  return all;
}
Steps steps(const std::vector<std::string>& pieces) {
  PostgresqlOpening opening;
  return steps(opening, pieces);
}
// Why `wire` is refused, the same at once and byte by byte.
std::string refusal_of(const std::string& wire) {
  PostgresqlOpening whole;
  EXPECT_EQ(whole.add(wire_of(wire)), Next::kRefused);
  PostgresqlOpening bytewise;
  Next next = Next::kReceive;
  for (std::size_t i = 0; i < wire.size() && next == Next::kReceive; ++i)
    next = bytewise.add(wire_of(wire.substr(i, 1)));
  EXPECT_EQ(next, Next::kRefused);
  EXPECT_EQ(bytewise.error(), whole.error());
  return std::string(whole.error());
}

TEST(PostgresqlOpening, AnswersARequestForTls) {
  EXPECT_EQ(steps({kSslRequest}), Steps{Next::kAnswerYes});
}

TEST(PostgresqlOpening, TakesARequestInPieces) {
  PostgresqlOpening opening;
  EXPECT_TRUE(opening.at_beginning());
  EXPECT_EQ(steps(opening, {kSslRequest.substr(0, 1), kSslRequest.substr(1, 6)}),
            (Steps{Next::kReceive, Next::kReceive}));
  EXPECT_FALSE(opening.at_beginning());
  EXPECT_EQ(opening.add(wire_of(kSslRequest.substr(7))), Next::kAnswerYes);
}

TEST(PostgresqlOpening, SaysNoToGssapiAndThenYesToTls) {
  PostgresqlOpening opening;
  EXPECT_EQ(opening.add(wire_of(kGssencRequest)), Next::kAnswerNo);
  EXPECT_TRUE(opening.at_beginning());
  EXPECT_EQ(opening.add(wire_of(kSslRequest)), Next::kAnswerYes);
}

TEST(PostgresqlOpening, LeavesTlsAlone) {
  EXPECT_EQ(steps({"", kClientHello}), (Steps{Next::kReceive, Next::kDirectTls}));
  EXPECT_EQ(steps({kClientHello.substr(0, 1)}), Steps{Next::kDirectTls});
}

TEST(PostgresqlOpening, RefusesToGoOnInPlaintext) {
  EXPECT_EQ(refusal_of(kCancelRequest.substr(0, 8)), "a CancelRequest in plaintext");
  EXPECT_EQ(refusal_of(kStartup.substr(0, 8)), "a StartupMessage in plaintext");
  EXPECT_EQ(refusal_of("\0\0\0\x29\0\x02\0\0"s), "a StartupMessage in plaintext");
  EXPECT_EQ(steps({kCancelRequest}), Steps{Next::kRefused});
  EXPECT_EQ(steps({kStartup}), Steps{Next::kRefused});
}

TEST(PostgresqlOpening, RefusesToGoOnInPlaintextAfterANo) {
  EXPECT_EQ(steps({kGssencRequest, kStartup}), (Steps{Next::kAnswerNo, Next::kRefused}));
  EXPECT_EQ(steps({kGssencRequest, kCancelRequest}), (Steps{Next::kAnswerNo, Next::kRefused}));
  EXPECT_EQ(steps({kGssencRequest, kGssencRequest}), (Steps{Next::kAnswerNo, Next::kRefused}));
  EXPECT_EQ(steps({kGssencRequest, kClientHello}), (Steps{Next::kAnswerNo, Next::kRefused}));
}

// Within TLS they would pass for the client's.
TEST(PostgresqlOpening, RefusesBytesBehindARequest) {
  for (const std::string& request : {kSslRequest, kGssencRequest}) {
    for (const std::string& behind : {kClientHello, kStartup, kSslRequest, "\0"s}) {
      PostgresqlOpening opening;
      EXPECT_EQ(opening.add(wire_of(request + behind)), Next::kRefused);
      EXPECT_EQ(opening.error(), "bytes behind a request for encryption, before its answer");
    }
  }
}

TEST(PostgresqlOpening, RefusesRequestsOfAWrongLength) {
  for (const char length : {'\0', '\x04', '\x07', '\x09', '\x10'}) {
    std::string wire = kSslRequest;
    wire[3] = length;
    EXPECT_EQ(refusal_of(wire), "an SSLRequest of a wrong length");
    wire = kGssencRequest;
    wire[3] = length;
    EXPECT_EQ(refusal_of(wire), "a GSSENCRequest of a wrong length");
  }
}

TEST(PostgresqlOpening, RefusesOtherProtocols) {
  for (const std::string& wire :
       {"GET / HTTP/1.1\r\n\r\n"s, "\x15\x03\x01\0\x02\x02\x28"s, "\x80\x2e\x01\x03\x01\0\x15\0"s,
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n"s, "\0\0\0\x08\0\x04\0\0"s, "\0\0\0\x08\x04\xd2\0\0"s})
    EXPECT_EQ(refusal_of(wire), "neither PostgreSQL nor TLS");
}

}  // namespace
}  // namespace sallyport::gateway
