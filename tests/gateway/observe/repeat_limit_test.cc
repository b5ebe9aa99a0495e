#include "gateway/observe/repeat_limit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using HeldBack = RepeatLimit::HeldBack;

class Repeats : public testing::Test {
 protected:
  std::uint64_t admitted(std::string_view message, std::uint64_t lines) {
    std::uint64_t count = 0;
    for (std::uint64_t i = 0; i < lines; ++i) count += limit_.admits(message, now_) ? 1 : 0;
    return count;
  }

  RepeatLimit limit_;
  RepeatLimit::TimePoint now_{1h};
};

TEST_F(Repeats, OfOneMessageAreHeldBackAndCounted) {
  EXPECT_EQ(admitted("down", RepeatLimit::kLines + 7), RepeatLimit::kLines);
  EXPECT_EQ(admitted("up", 3), 3U) << "another message";
  now_ += RepeatLimit::kWindow - 1ms;
  EXPECT_EQ(admitted("down", 1), 0U);
  EXPECT_THAT(limit_.take(now_), IsEmpty()) << "the window goes on";
  now_ += 1ms;
  EXPECT_THAT(limit_.take(now_), ElementsAre(HeldBack{"down", 8}));
  EXPECT_THAT(limit_.take(now_), IsEmpty()) << "each once";
}

TEST_F(Repeats, AreWrittenAgainInTheNextWindow) {
  EXPECT_EQ(admitted("down", RepeatLimit::kLines + 1), RepeatLimit::kLines);
  now_ += RepeatLimit::kWindow;
  EXPECT_THAT(limit_.take(now_), ElementsAre(HeldBack{"down", 1}));
  EXPECT_EQ(admitted("down", 1), 1U);
}

TEST_F(Repeats, AreAllToldAtTheEnd) {
  EXPECT_EQ(admitted("down", RepeatLimit::kLines + 2), RepeatLimit::kLines);
  EXPECT_THAT(limit_.take(now_, true), ElementsAre(HeldBack{"down", 2}));
}

}  // namespace
}  // namespace sallyport::gateway
