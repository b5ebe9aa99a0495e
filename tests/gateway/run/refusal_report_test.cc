#include "gateway/run/refusal_report.h"

#include <gtest/gtest.h>

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;
using Say = RefusalReport::Say;

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
  EXPECT_EQ(refused(one_), Say::kNothing);
  EXPECT_TRUE(report_.settling());
  EXPECT_FALSE(report_.accepted()) << "nothing was said";
  EXPECT_FALSE(report_.settling());
}

TEST_F(RefusalReportTest, GivesFilesThatChangeAgainAnotherSecond) {
  EXPECT_EQ(refused(one_), Say::kNothing);
  now_ += 900ms;
  EXPECT_EQ(refused(two_), Say::kNothing);
  now_ += 900ms;
  EXPECT_EQ(refused(two_), Say::kNothing);
  now_ += 100ms;
  EXPECT_EQ(refused(two_), Say::kCountAndLog);
}

TEST_F(RefusalReportTest, TellsOnceThatARefusalThatWasReportedIsOver) {
  EXPECT_EQ(refused(one_), Say::kNothing);
  now_ += 1s;
  EXPECT_EQ(refused(one_), Say::kCountAndLog);
  EXPECT_TRUE(report_.accepted());
  EXPECT_FALSE(report_.accepted());
}

TEST_F(RefusalReportTest, CountsFilesThatStayRefusedOnceAndLogsThemNowAndThen) {
  EXPECT_EQ(refused(one_), Say::kNothing);
  now_ += 1s;
  EXPECT_EQ(refused(one_), Say::kCountAndLog);
  EXPECT_FALSE(report_.settling());
  now_ += 59min;
  EXPECT_EQ(refused(one_), Say::kNothing);
  now_ += 1min;
  EXPECT_EQ(refused(one_), Say::kLogAgain);
  now_ += 1min;
  EXPECT_EQ(refused(one_), Say::kNothing);
}

TEST_F(RefusalReportTest, CountsAnotherComplaintAboutTheSameFiles) {
  EXPECT_EQ(refused(one_), Say::kNothing);
  now_ += 1s;
  EXPECT_EQ(refused(one_), Say::kCountAndLog);
  EXPECT_EQ(report_.refused(one_, "another reason", now_, false), Say::kNothing);
  now_ += 1s;
  EXPECT_EQ(report_.refused(one_, "another reason", now_, false), Say::kCountAndLog);
}

TEST_F(RefusalReportTest, AnswersAnOperatorAtOnceAndEveryTime) {
  EXPECT_EQ(refused(one_, true), Say::kCountAndLog);
  EXPECT_EQ(refused(one_, true), Say::kCountAndLog);
  EXPECT_EQ(refused(one_), Say::kNothing);
}

}  // namespace
}  // namespace sallyport::gateway
