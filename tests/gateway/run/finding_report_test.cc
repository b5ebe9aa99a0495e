#include "gateway/run/finding_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Effect = Finding::Effect;

class FindingReportTest : public ::testing::Test {
 protected:
  std::vector<std::string> due(std::vector<Finding> findings, bool all = false) {
    std::vector<std::string> texts;
    for (const Finding& each : report_.due(std::move(findings), now_, all)) {
      texts.push_back(each.to_string());
    }
    return texts;
  }

  const Finding old_{Effect::kNoneYet, "old"}, new_{Effect::kNoneYet, "new"};
  FindingReport::TimePoint now_;
  FindingReport report_;
};

TEST_F(FindingReportTest, TellsEachFindingOnce) {
  EXPECT_THAT(due({old_}), ElementsAre("old"));
  EXPECT_THAT(due({old_, new_}), ElementsAre("new"));
  EXPECT_THAT(due({old_, new_}), IsEmpty());
}

TEST_F(FindingReportTest, TellsAFindingThatLastsOnceADay) {
  EXPECT_THAT(due({old_}), ElementsAre("old"));
  now_ += 23h;
  EXPECT_THAT(due({old_}), IsEmpty());
  now_ += 1h;
  EXPECT_THAT(due({old_}), ElementsAre("old"));
  now_ += 1h;
  EXPECT_THAT(due({old_}), IsEmpty());
}

TEST_F(FindingReportTest, TellsAFindingForWhichClientsAreRefusedOnceAnHour) {
  const Finding some{Effect::kRefusesSome, "some"}, all{Effect::kRefusesAll, "all"};
  EXPECT_THAT(due({some, all}), ElementsAre("some", "all"));
  now_ += 59min;
  EXPECT_THAT(due({some, all}), IsEmpty());
  now_ += 1min;
  EXPECT_THAT(due({some, all}), ElementsAre("some", "all"));
}

TEST_F(FindingReportTest, KnowsAFindingAgainWhosePlaceMoved) {
  EXPECT_THAT(due({{Effect::kNoneYet, "twice", "f:1: [0]"}}), ElementsAre("f:1: [0]: twice"));
  EXPECT_THAT(due({{Effect::kNoneYet, "twice", "f:9: [3]"}}), IsEmpty());
}

TEST_F(FindingReportTest, TellsAFindingThatCameBack) {
  EXPECT_THAT(due({old_}), ElementsAre("old"));
  EXPECT_THAT(due({}), IsEmpty());
  EXPECT_THAT(due({old_}), ElementsAre("old"));
}

TEST_F(FindingReportTest, TellsAnOperatorAllOfThem) {
  EXPECT_THAT(due({old_}), ElementsAre("old"));
  EXPECT_THAT(due({old_, new_}, true), ElementsAre("old", "new"));
  EXPECT_THAT(due({old_, new_}), IsEmpty());
}

}  // namespace
}  // namespace sallyport::gateway
