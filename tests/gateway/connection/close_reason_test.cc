#include "gateway/connection/close_reason.h"

#include <gtest/gtest.h>

#include <set>

namespace sallyport::gateway {
namespace {

TEST(CloseReason, HasAWordOfItsOwnForEachEnumerator) {
  std::set<std::string_view> words;
  for (const std::string_view word : kCloseReasonWords) {
    EXPECT_FALSE(word.empty());
    EXPECT_TRUE(words.insert(word).second) << word;
  }
}

TEST(CloseReason, OfARefusedHandshakeIsItsResult) {
  for (std::size_t i = 1; i < ktls::kHandshakeResults; ++i) {
    const auto result = static_cast<ktls::HandshakeResult>(i);
    const CloseReason reason = result;
    EXPECT_EQ(reason.result(), result);
    EXPECT_EQ(reason.end(), std::nullopt);
    EXPECT_EQ(to_string(reason), ktls::to_string(result));
    EXPECT_EQ(handshake_result(reason), result);
  }
}

TEST(CloseReason, HasTheIndexOfTheResultInBothLists) {
  for (std::size_t i = 0; i < ktls::kHandshakeResults; ++i) {
    EXPECT_EQ(kCloseReasonWords.at(i), ktls::kHandshakeResultWords.at(i));
  }
  EXPECT_EQ(CloseReason(CloseReason::kShed).index(),
            static_cast<std::size_t>(ktls::HandshakeResult::kShed));
}

TEST(CloseReason, OfAConnectionThatWasServedIsAnEnd) {
  const CloseReason reason = CloseReason::kIdleTimeout;
  EXPECT_EQ(reason.end(), CloseReason::End::kIdleTimeout);
  EXPECT_EQ(reason.result(), std::nullopt);
  EXPECT_EQ(reason, CloseReason::kIdleTimeout);
  EXPECT_NE(reason, CloseReason::kLifetime);
  EXPECT_NE(reason, CloseReason::kNoRoute);
}

TEST(CloseReason, CountsWhatIsNoResultAsAnUnknownFailure) {
  EXPECT_EQ(handshake_result(CloseReason::kInternalError), ktls::HandshakeResult::kUnknownFailure);
  EXPECT_EQ(handshake_result(CloseReason::kDrain), ktls::HandshakeResult::kDrain);
}

// The published words, without the refusals' (those are compared above).
TEST(CloseReason, HasTheWordsOfTheContract) {
  const std::set<std::string_view> words(kCloseReasonWords.begin(), kCloseReasonWords.end());
  for (const std::string_view word :
       {"done", "client_closed", "backend_closed", "client_truncated", "client_reset",
        "backend_reset", "idle_timeout", "lifetime", "half_close_timeout", "drain", "record_error",
        "keyupdate_flood", "keyupdate_unsupported", "closed_before_hello", "internal_error"}) {
    EXPECT_TRUE(words.contains(word)) << word;
  }
  EXPECT_EQ(to_string(CloseReason::kDone), "done");
  EXPECT_EQ(to_string(CloseReason::kClosedBeforeHello), "closed_before_hello");
  EXPECT_EQ(to_string(CloseReason::kInternalError), "internal_error");
}

TEST(CloseReasonDeathTest, HasNoneForASuccess) {
  EXPECT_DEATH(CloseReason{ktls::HandshakeResult::kSuccess}, "ends no connec");
}

}  // namespace
}  // namespace sallyport::gateway
