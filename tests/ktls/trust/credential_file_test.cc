#include "ktls/trust/credential_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "tests/support/temp_dir.h"

namespace sallyport::ktls {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr unsigned kSmallModes[] = {0600, 0400};
constexpr unsigned kWideModes[] = {0604, 0620, 0660, 0644};

// The text, or the error.
std::string read(const std::filesystem::path& file, FileRules rules = FileRules::kPublic) {
  const auto text = read_file(file.string(), rules);
  return text ? std::string((*text)->view()) : text.error().message();
}

TEST(ReadFile, ReadsTheWholeAlsoThroughASymlink) {
  const test::TempDir dir;
  const std::string content("a\0b\r\n", 5);
  const auto file = dir.write("file", content);
  std::filesystem::create_symlink(file, dir / "link");
  EXPECT_EQ(read(file), content);
  EXPECT_EQ(read(dir / "link"), content);
  EXPECT_EQ(read(dir.write("empty", "")), "");
}

TEST(ReadFile, RefusesWhatIsNoRegularFileWithoutWaiting) {
  const test::TempDir dir;
  const auto fifo = dir / "fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_THAT(read(fifo), AllOf(StartsWith(fifo.string()), EndsWith("is not a regular file")));
  EXPECT_THAT(read(dir.path()), EndsWith("is a directory"));
  EXPECT_THAT(read("/dev/zero"), EndsWith("is not a regular file"));
  EXPECT_THAT(read(dir / "absent"), HasSubstr("cannot be opened: No such file"));
}

TEST(ReadFile, ReadsAtMost64MiB) {
  const test::TempDir dir;
  const auto file = dir.write("file", "");
  std::filesystem::resize_file(file, (64U << 20) + 1);
  EXPECT_THAT(read(file), EndsWith("is larger than 64 MiB"));
  std::filesystem::resize_file(file, 64U << 20);
  EXPECT_EQ(read(file).size(), 64U << 20);
}

TEST(ReadFile, RefusesASecretThatBreaksTheRulesOfKeyFiles) {
  const test::TempDir dir;
  for (const unsigned mode : kSmallModes)
    EXPECT_EQ(read(dir.write(std::to_string(mode), "x", mode), FileRules::kSecret), "x") << mode;
  for (const unsigned mode : kWideModes) {
    const auto file = dir.write(std::to_string(mode), "x", mode);
    EXPECT_THAT(read(file, FileRules::kSecret), HasSubstr("lets "));
    EXPECT_EQ(read(file), "x");
  }
}

}  // namespace
}  // namespace sallyport::ktls
