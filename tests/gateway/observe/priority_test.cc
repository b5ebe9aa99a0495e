#include "gateway/observe/priority.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <string>

namespace sallyport::gateway {
namespace {

std::string stream_of(int descriptor) {
  struct stat status{};
  if (::fstat(descriptor, &status) != 0) return "";
  return std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino);
}

TEST(Priority, StandsInFrontOfALineAsTheJournalTakesIt) {
  EXPECT_EQ(prefix(Priority::kError), "<3>");
  EXPECT_EQ(prefix(Priority::kDebug), "<7>");
}

// systemd.exec(5): the variable is inherited by programs whose output leads elsewhere.
TEST(Priority, IsForTheJournalOnlyWhereTheDescriptorIsItsStream) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
  const std::string stream = stream_of(ends[0]);
  EXPECT_TRUE(is_journal(ends[0], stream.c_str()));
  EXPECT_FALSE(is_journal(ends[1], stream.c_str())) << "another stream";
  EXPECT_FALSE(is_journal(ends[0], nullptr));
  for (const std::string& wrong : {std::string(), std::string("8:"), stream + "0", "0" + stream})
    EXPECT_FALSE(is_journal(ends[0], wrong.c_str())) << wrong;
  for (const int end : ends) ::close(end);
  EXPECT_FALSE(is_journal(ends[0], stream.c_str())) << "closed";
}

}  // namespace
}  // namespace sallyport::gateway
