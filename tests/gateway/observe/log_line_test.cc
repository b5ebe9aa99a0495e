#include "gateway/observe/log_line.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <limits>
#include <string>

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;

std::string line(LogFormat format) {
  LogLine line(format, "<6>");
  line.text("word", "a-b");
  line.text("words", "a \"b\"\n");
  line.text("none", "");
  line.boolean("yes", true);
  line.number("large", std::numeric_limits<std::uint64_t>::max());
  line.number("less", std::int64_t{-1});
  line.number("part", 0.25);
  line.number("nan", std::numeric_limits<double>::quiet_NaN());
  line.nothing("unknown");
  line.milliseconds("ms", 1'234'567ns);
  line.structured("list", R"(["a"])");
  return line.finish();
}

TEST(LogLine, HasTheSameKeysAndValuesInBothForms) {
  EXPECT_EQ(line(LogFormat::kJson),
            R"(<6>{"word":"a-b","words":"a \"b\"\n","none":"","yes":true,)"
            R"("large":18446744073709551615,"less":-1,"part":0.25,"nan":null,"unknown":null,)"
            R"("ms":1.235,"list":["a"]})");
  EXPECT_EQ(line(LogFormat::kText),
            R"(<6>word=a-b words="a \"b\"\n" none="" yes=true large=18446744073709551615 less=-1 )"
            R"(part=0.25 nan=- unknown=- ms=1.235 list="[\"a\"]")");
}

}  // namespace
}  // namespace sallyport::gateway
