#include "ktls/records/record_error.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>

namespace sallyport::ktls {
namespace {

using enum RecordFailure;

constexpr auto kFailures = {kReset,
                            kPipe,
                            kSocket,
                            kCancelled,
                            kBadRecordMac,
                            kRecordOverflow,
                            kUnexpectedMessage,
                            kRenegotiation,
                            kDecodeError,
                            kIllegalParameter,
                            kAlertReceived,
                            kKeyUpdateFlood,
                            kKeyUpdateUnsupported,
                            kSequenceExhausted,
                            kInternal};

TEST(RecordError, GivesEachFailureAWordOfItsOwn) {
  std::set<std::string_view> words;
  for (const RecordFailure failure : kFailures) words.insert(to_string(failure));
  EXPECT_EQ(words.size(), kFailures.size());
  EXPECT_EQ(words.size(), static_cast<std::size_t>(kInternal) + 1) << "one is not in this test";
  EXPECT_FALSE(words.contains("unknown"));
}

TEST(RecordError, TellsThePeerOfItsOwnOffences) {
  EXPECT_EQ(alert_for(kBadRecordMac), AlertDescription::kBadRecordMac);
  EXPECT_EQ(alert_for(kRecordOverflow), AlertDescription::kRecordOverflow);
  EXPECT_EQ(alert_for(kUnexpectedMessage), AlertDescription::kUnexpectedMessage);
  EXPECT_EQ(alert_for(kKeyUpdateFlood), AlertDescription::kUnexpectedMessage);
  EXPECT_EQ(alert_for(kRenegotiation), AlertDescription::kUnexpectedMessage);
  EXPECT_EQ(alert_for(kDecodeError), AlertDescription::kDecodeError);
  EXPECT_EQ(alert_for(kIllegalParameter), AlertDescription::kIllegalParameter);
}

TEST(RecordError, TellsThePeerOfOursAsInternalErrors) {
  for (const RecordFailure failure : {kKeyUpdateUnsupported, kSequenceExhausted, kInternal})
    EXPECT_EQ(alert_for(failure), AlertDescription::kInternalError) << to_string(failure);
}

TEST(RecordError, SaysNothingWhereThePeerIsGoneOrEndedTheConnection) {
  for (const RecordFailure failure : {kReset, kPipe, kSocket, kCancelled, kAlertReceived})
    EXPECT_EQ(alert_for(failure), std::nullopt) << to_string(failure);
}

TEST(RecordError, SortsErrnosOfTheSocketAndKeepsThem) {
  for (const int value : {ECONNRESET, ECONNABORTED, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH})
    EXPECT_EQ(RecordError::from_errno(value).failure, kReset) << value;
  for (const int value : {EPIPE, ESHUTDOWN})
    EXPECT_EQ(RecordError::from_errno(value).failure, kPipe) << value;
  EXPECT_EQ(RecordError::from_errno(ECANCELED).failure, kCancelled);
  EXPECT_EQ(RecordError::from_errno(ENOBUFS).failure, kSocket);
  EXPECT_EQ(RecordError::from_errno(ENOBUFS).sys_errno, ENOBUFS);
}

}  // namespace
}  // namespace sallyport::ktls
