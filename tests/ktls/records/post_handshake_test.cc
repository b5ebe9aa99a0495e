#include "ktls/records/post_handshake.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "tests/ktls/bytes.h"

namespace sallyport::ktls {
namespace {

using testing::append;
using testing::Bytes;
using testing::from_hex;
using MessageKind = PostHandshakeMessage::Kind;

/// What a series of records amounts to: "U" update, "R" update requested, "T<size>" ticket,
/// "N<size>" renegotiation, or the failure.
std::string story(Role role, const std::vector<Bytes>& records,
                  RecordVersion version = RecordVersion::kTls13) {
  PostHandshakeParser parser(role, version);
  std::string text;
  for (const Bytes& record : records) {
    const auto fed = parser.feed(record);
    if (!fed) return text + std::string(to_string(fed.error().failure));
    while (true) {
      const auto message = parser.next();
      if (!message) return text + std::string(to_string(message.error().failure));
      if (!*message) break;
      if ((*message)->kind == MessageKind::kRenegotiation) {
        text += "N" + std::to_string((*message)->body.size());
      } else if ((*message)->kind == MessageKind::kNewSessionTicket) {
        text += "T" + std::to_string((*message)->body.size());
      } else {
        text += (*message)->request == KeyUpdateRequest::kUpdateRequested ? "R" : "U";
      }
    }
  }
  return text + (parser.mid_message() ? "..." : "");
}

Bytes ticket(std::size_t size) {
  Bytes message = {std::byte{4}, static_cast<std::byte>(size >> 16),
                   static_cast<std::byte>(size >> 8 & 0xff), static_cast<std::byte>(size & 0xff)};
  append(message, testing::random_bytes(size, 1));
  return message;
}

const Bytes kUpdate = from_hex("18 000001 00");
const Bytes kUpdateRequested = from_hex("18 000001 01");

Bytes joined(std::initializer_list<Bytes> parts) {
  Bytes all;
  for (const Bytes& part : parts) append(all, part);
  return all;
}

TEST(PostHandshake, ReadsKeyUpdate) {
  EXPECT_EQ(story(Role::kServer, {kUpdate}), "U");
  EXPECT_EQ(story(Role::kServer, {kUpdateRequested, kUpdate}), "RU");
  for (const auto request :
       {KeyUpdateRequest::kUpdateNotRequested, KeyUpdateRequest::kUpdateRequested}) {
    const auto message = key_update_message(request);
    EXPECT_EQ(story(Role::kServer, {Bytes(message.begin(), message.end())}),
              request == KeyUpdateRequest::kUpdateRequested ? "R" : "U");
  }
}

TEST(PostHandshake, ReadsTicketsOfAServerSeveralInARecord) {
  EXPECT_EQ(story(Role::kClient, {joined({ticket(200), ticket(0), ticket(7)})}), "T200T0T7");
  EXPECT_EQ(story(Role::kClient, {joined({ticket(200), kUpdate})}), "T200U");
}

TEST(PostHandshake, JoinsMessagesCutAtEveryByte) {
  const Bytes all = joined({ticket(50), ticket(3), kUpdateRequested});
  for (std::size_t cut = 1; cut < all.size(); ++cut) {
    const auto middle = all.begin() + static_cast<long>(cut);
    EXPECT_EQ(story(Role::kClient, {Bytes(all.begin(), middle), Bytes(middle, all.end())}),
              "T50T3R")
        << cut;
  }
  std::vector<Bytes> single;
  for (const std::byte byte : all) single.push_back({byte});
  EXPECT_EQ(story(Role::kClient, single), "T50T3R");
}

TEST(PostHandshake, SaysThatAMessageIsUnfinished) {
  EXPECT_EQ(story(Role::kServer, {from_hex("18")}), "...");
  EXPECT_EQ(story(Role::kServer, {from_hex("18 000001")}), "...");
  EXPECT_EQ(story(Role::kClient, {joined({ticket(5), from_hex("04 0000")})}), "T5...");
}

TEST(PostHandshake, RefusesKeyUpdateThatDoesNotEndItsRecord) {
  EXPECT_EQ(story(Role::kServer, {joined({kUpdate, kUpdate})}), "unexpected_message");
  EXPECT_EQ(story(Role::kClient, {joined({kUpdate, ticket(3)})}), "unexpected_message");
  EXPECT_EQ(story(Role::kServer, {joined({kUpdate, from_hex("18")})}), "unexpected_message");
  EXPECT_EQ(story(Role::kServer, {from_hex("18 00"), from_hex("0001 00 18")}),
            "unexpected_message");
}

TEST(PostHandshake, RefusesKeyUpdateOfWrongLengthOrRequest) {
  EXPECT_EQ(story(Role::kServer, {from_hex("18 000000")}), "decode_error");
  EXPECT_EQ(story(Role::kServer, {from_hex("18 000002 0000")}), "decode_error");
  EXPECT_EQ(story(Role::kServer, {from_hex("18 010001 00")}), "decode_error");
  EXPECT_EQ(story(Role::kServer, {from_hex("18 000001 02")}), "illegal_parameter");
  EXPECT_EQ(story(Role::kServer, {from_hex("18 000001 ff")}), "illegal_parameter");
}

TEST(PostHandshake, RefusesEverythingElse) {
  EXPECT_EQ(story(Role::kServer, {Bytes{}}), "unexpected_message");
  EXPECT_EQ(story(Role::kServer, {ticket(10)}), "unexpected_message") << "a ticket from a client";
  for (int type = 0; type < 256; ++type) {
    if (type == 4 || type == 24) continue;
    Bytes message = from_hex("00 000001 00");
    message[0] = static_cast<std::byte>(type);
    EXPECT_EQ(story(Role::kServer, {message}), "unexpected_message") << type;
    EXPECT_EQ(story(Role::kClient, {message}), "unexpected_message") << type;
  }
}

TEST(PostHandshake, BoundsWhatItHolds) {
  EXPECT_EQ(story(Role::kClient, {from_hex("04 ffffff 00")}), "decode_error");
  EXPECT_EQ(story(Role::kClient, {from_hex("04"), from_hex("ffffff")}), "decode_error");
  EXPECT_EQ(story(Role::kClient, {ticket(PostHandshakeParser::kMaxMessageSize + 1)}),
            "decode_error");
  EXPECT_EQ(story(Role::kClient, {ticket(PostHandshakeParser::kMaxMessageSize)}), "T16384");
}

TEST(PostHandshakeOfTls12, KnowsOnlyWhatAsksForAnotherHandshake) {
  const auto tls12_story = [](Role role, const std::vector<Bytes>& records) {
    return story(role, records, RecordVersion::kTls12);
  };
  const Bytes hello = from_hex("01 000002 0303");
  EXPECT_EQ(tls12_story(Role::kServer, {hello}), "N2");
  EXPECT_EQ(tls12_story(Role::kServer, {joined({hello, hello})}), "N2N2");
  EXPECT_EQ(tls12_story(Role::kServer, {from_hex("01 0000"), from_hex("02 03"), from_hex("03")}),
            "N2");
  EXPECT_EQ(tls12_story(Role::kClient, {from_hex("00 000000")}), "N0");

  EXPECT_EQ(tls12_story(Role::kServer, {from_hex("00 000000")}), "unexpected_message");
  EXPECT_EQ(tls12_story(Role::kClient, {hello}), "unexpected_message");
  EXPECT_EQ(tls12_story(Role::kServer, {kUpdate}), "unexpected_message");
  EXPECT_EQ(tls12_story(Role::kServer, {from_hex("01 ffffff")}), "decode_error");
  EXPECT_EQ(tls12_story(Role::kClient, {from_hex("00 000001 00")}), "decode_error");
}

class Budget : public ::testing::Test {
 protected:
  using Progress = KeyUpdateBudget::Progress;

  /// How many updates in a row it takes.
  unsigned spend_all(const Progress& progress) {
    unsigned taken = 0;
    while (budget_.spend(progress)) ++taken;
    return taken;
  }

  KeyUpdateBudget::Clock::time_point now_{std::chrono::hours(1)};
  KeyUpdateBudget budget_;
};

TEST_F(Budget, EndsWithAFloodOfUpdates) {
  EXPECT_EQ(spend_all({0, 0, now_}), KeyUpdateBudget::kMax);
}

TEST_F(Budget, IsFilledByData) {
  for (std::uint64_t i = 0; i < 1000; ++i) {
    EXPECT_TRUE(budget_.spend({i * KeyUpdateBudget::kBytesEach, 0, now_})) << i;
  }
}

TEST_F(Budget, IsFilledByTime) {
  for (int i = 0; i < 1000; ++i)
    EXPECT_TRUE(budget_.spend({0, 0, now_ + i * KeyUpdateBudget::kTimeEach}));
}

TEST_F(Budget, DoesNotSaveUpMoreThanItsSize) {
  EXPECT_TRUE(budget_.spend({0, 0, now_}));
  const auto later = now_ + std::chrono::hours(100);
  const std::uint64_t much = std::uint64_t{1} << 40;
  EXPECT_EQ(spend_all({much, 0, later}), KeyUpdateBudget::kMax);
  EXPECT_EQ(spend_all({much, much, later}), KeyUpdateBudget::kMaxUnderWay);
}

TEST_F(Budget, HasOneMoreForEachRecordThatWasSent) {
  EXPECT_EQ(spend_all({0, 500, now_}), 500 + KeyUpdateBudget::kMax);
  EXPECT_EQ(spend_all({0, 500, now_}), 0U);
  EXPECT_EQ(spend_all({0, 700, now_}), 200U);
}

TEST_F(Budget, CountsRecordsSentFromZeroUnderANewKey) {
  EXPECT_EQ(spend_all({0, 500, now_}), 500 + KeyUpdateBudget::kMax);
  EXPECT_EQ(spend_all({0, 10, now_}), 10U);
  EXPECT_EQ(spend_all({0, 20, now_}), 10U);
}

}  // namespace
}  // namespace sallyport::ktls
