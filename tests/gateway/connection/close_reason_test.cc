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

TEST(CloseReason, IsTheResultWordOfARefusedHandshake) {
  for (std::size_t i = 1; i < ktls::kHandshakeResults; ++i) {
    const auto result = static_cast<ktls::HandshakeResult>(i);
    EXPECT_EQ(to_string(close_reason(result)), ktls::to_string(result));
    EXPECT_EQ(handshake_result(close_reason(result)), result);
    EXPECT_TRUE(is_refusal(close_reason(result)));
  }
}

TEST(CloseReason, LabelsTheResultsInTheirOrder) {
  for (std::size_t i = 0; i < ktls::kHandshakeResults; ++i) {
    EXPECT_EQ(kHandshakeResultWords.at(i), ktls::to_string(static_cast<ktls::HandshakeResult>(i)));
  }
}

TEST(CloseReason, CountsWhatIsNoResultAsAnUnknownFailure) {
  EXPECT_FALSE(is_refusal(CloseReason::kInternalError));
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
  EXPECT_DEATH(static_cast<void>(close_reason(ktls::HandshakeResult::kSuccess)), "ends no connec");
}

}  // namespace
}  // namespace sallyport::gateway
