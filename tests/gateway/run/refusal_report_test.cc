#include "gateway/run/refusal_report.h"

#include <gtest/gtest.h>

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;
using Say = RefusalReport::Say;

constexpr Say kNothing{}, kCount{.count = true}, kLogAgain{.log = true},
    kCountAndLog{.count = true, .log = true};

class RefusalReportTest : public ::testing::Test {
 protected:
  Say refused(const Fingerprint& files, bool by_operator = false) {
    return report_.refused(files, "does not fit", now_, by_operator);
  }

  const Fingerprint one_{std::byte{1}};
  const Fingerprint two_{std::byte{2}};
  RefusalReport::TimePoint now_;
  RefusalReport report_;
};

TEST_F(RefusalReportTest, SaysNothingOfFilesThatAreRepairedWithinASecond) {
  EXPECT_EQ(refused(one_), kNothing);
  EXPECT_TRUE(report_.settling());
  EXPECT_FALSE(report_.accepted()) << "nothing was said";
  EXPECT_FALSE(report_.settling());
}

TEST_F(RefusalReportTest, GivesFilesThatChangeAgainAnotherSecond) {
  EXPECT_EQ(refused(one_), kNothing);
  now_ += 900ms;
  EXPECT_EQ(refused(two_), kNothing);
  now_ += 900ms;
  EXPECT_EQ(refused(two_), kNothing);
  now_ += 100ms;
  EXPECT_EQ(refused(two_), kCountAndLog);
}

TEST_F(RefusalReportTest, TellsOnceThatARefusalThatWasReportedIsOver) {
  EXPECT_EQ(refused(one_), kNothing);
  now_ += 1s;
  EXPECT_EQ(refused(one_), kCountAndLog);
  EXPECT_TRUE(report_.accepted());
  EXPECT_FALSE(report_.accepted());
}

TEST_F(RefusalReportTest, CountsFilesThatStayRefusedOnceAndLogsThemNowAndThen) {
  EXPECT_EQ(refused(one_), kNothing);
  now_ += 1s;
  EXPECT_EQ(refused(one_), kCountAndLog);
  EXPECT_FALSE(report_.settling());
  now_ += 59min;
  EXPECT_EQ(refused(one_), kNothing);
  now_ += 1min;
  EXPECT_EQ(refused(one_), kLogAgain);
  now_ += 1min;
  EXPECT_EQ(refused(one_), kNothing);
}

TEST_F(RefusalReportTest, CountsAnotherComplaintAboutTheSameFiles) {
  EXPECT_EQ(refused(one_), kNothing);
  now_ += 1s;
  EXPECT_EQ(refused(one_), kCountAndLog);
  EXPECT_EQ(report_.refused(one_, "another reason", now_, false), kNothing);
  now_ += 1s;
  EXPECT_EQ(report_.refused(one_, "another reason", now_, false), kCountAndLog);
}

TEST_F(RefusalReportTest, CountsOtherFilesWithTheSameComplaintAndDoesNotLogThem) {
  EXPECT_EQ(refused(one_), kNothing);
  now_ += 1s;
  EXPECT_EQ(refused(one_), kCountAndLog);
  EXPECT_EQ(refused(two_), kNothing);
  now_ += 1s;
  EXPECT_EQ(refused(two_), kCount);
  EXPECT_FALSE(report_.settling());
  now_ += 1h;
  EXPECT_EQ(refused(one_), kNothing);
  now_ += 1s;
  EXPECT_EQ(refused(one_), kCountAndLog);
  EXPECT_TRUE(report_.accepted()) << "the complaint was logged";
}

TEST_F(RefusalReportTest, AnswersAnOperatorAtOnceAndEveryTime) {
  EXPECT_EQ(refused(one_, true), kCountAndLog);
  EXPECT_EQ(refused(one_, true), kCountAndLog);
  EXPECT_EQ(refused(one_), kNothing);
}

}  // namespace
}  // namespace sallyport::gateway
