#include "ktls/records/inbound_state.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace sallyport::ktls {
namespace {

using End = InboundState::End;
using Kind = Received::Kind;

class InboundStateTest : public ::testing::Test {
 protected:
  void process(ContentType type, std::initializer_list<int> content) {
    std::vector<std::byte> bytes;
    for (const int value : content) bytes.push_back(static_cast<std::byte>(value));
    state_.process(type, bytes, {});
  }

  InboundState state_{Role::kServer, RecordVersion::kTls13};
};

TEST_F(InboundStateTest, IsOpenWhileDataComes) {
  process(ContentType::kApplicationData, {1, 2, 3});
  EXPECT_FALSE(state_.ended());
  EXPECT_EQ(state_.received_bytes(), 3U);
  EXPECT_FALSE(state_.take_failure());
}

TEST_F(InboundStateTest, EndsAtTheThirtyThirdRecordWithoutContentInARow) {
  const auto send_empty = [this](int count) {
    for (int i = 0; i < count; ++i) process(ContentType::kApplicationData, {});
  };
  send_empty(32);
  process(ContentType::kApplicationData, {1});
  send_empty(32);
  EXPECT_FALSE(state_.ended());
  process(ContentType::kApplicationData, {});
  EXPECT_EQ(state_.take_failure(), RecordFailure::kUnexpectedMessage);
}

TEST_F(InboundStateTest, CountsRecordsWithoutContentOverMessagesOfOtherTypes) {
  for (int i = 0; i < 33; ++i) {
    process(ContentType::kApplicationData, {});
    if (i % 16 == 0) process(ContentType::kHandshake, {24, 0, 0, 1, 0});
  }
  EXPECT_EQ(state_.take_failure(), RecordFailure::kUnexpectedMessage);
}

TEST_F(InboundStateTest, EndsCleanlyWithCloseNotify) {
  process(ContentType::kAlert, {1, 0});
  EXPECT_EQ(state_.end(), End::kCloseNotify);
  EXPECT_EQ(state_.end_of_input().kind, Kind::kCloseNotify);
  EXPECT_FALSE(state_.take_failure());
}

TEST_F(InboundStateTest, IsTruncatedByAFinAlone) {
  state_.end_of_file();
  EXPECT_TRUE(state_.ended());
  EXPECT_EQ(state_.end_of_input().kind, Kind::kTruncated);
  EXPECT_FALSE(state_.take_failure());
}

TEST_F(InboundStateTest, TellsARefusalOnce) {
  process(ContentType::kChangeCipherSpec, {1});
  EXPECT_EQ(state_.end(), End::kFailed);
  EXPECT_EQ(state_.take_failure(), RecordFailure::kUnexpectedMessage);
  EXPECT_FALSE(state_.take_failure());
  const Received received = state_.end_of_input();
  EXPECT_EQ(received.kind, Kind::kFailed);
  EXPECT_EQ(received.error.failure, RecordFailure::kUnexpectedMessage);
}

TEST_F(InboundStateTest, KeepsTheAlertOfThePeer) {
  process(ContentType::kAlert, {2, 49});
  const Received received = state_.end_of_input();
  EXPECT_EQ(received.error.failure, RecordFailure::kAlertReceived);
  EXPECT_EQ(received.error.alert, AlertDescription::kAccessDenied);
  EXPECT_EQ(state_.take_failure(), RecordFailure::kAlertReceived);
}

TEST_F(InboundStateTest, GoesOnBehindACancelledReceive) {
  const Received received = state_.receive_failed(iouring::Errno{ECANCELED});
  EXPECT_EQ(received.error.failure, RecordFailure::kCancelled);
  EXPECT_FALSE(state_.ended());
}

TEST_F(InboundStateTest, EndsWithTheErrnoOfADeadSocket) {
  const Received received = state_.receive_failed(iouring::Errno{ECONNRESET});
  EXPECT_EQ(received.error.failure, RecordFailure::kReset);
  EXPECT_EQ(state_.end(), End::kSocketFailed);
  EXPECT_EQ(state_.end_of_input().error.sys_errno, ECONNRESET);
  EXPECT_FALSE(state_.take_failure());
}

}  // namespace
}  // namespace sallyport::ktls
