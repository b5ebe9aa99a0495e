#include "gateway/run/fingerprint.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>
#include <vector>

#include "tests/support/temp_dir.h"

namespace sallyport::gateway {
namespace {

using Files = std::vector<std::filesystem::path>;

TEST(Fingerprint, ChangesWithContentAndComesBackWithIt) {
  const test::TempDir files;
  const Files names{files.write("a", "one"), files.write("b", "two")};
  const Fingerprint before = fingerprint(names);
  files.write("b", "three");
  EXPECT_NE(fingerprint(names), before);
  files.replace("b", "two");
  EXPECT_EQ(fingerprint(names), before);
}

TEST(Fingerprint, SeesAByteThatMovesFromOneFileToTheNext) {
  const test::TempDir files;
  const Files names{files.write("a", "ab"), files.write("b", "c")};
  const Fingerprint before = fingerprint(names);
  files.write("a", "a");
  files.write("b", "bc");
  EXPECT_NE(fingerprint(names), before);
}

TEST(Fingerprint, ReadsNoFileWithoutAnEnd) {
  EXPECT_NE(fingerprint(Files{"/dev/zero"}), fingerprint(Files{"/no/such/file"}));
}

TEST(Fingerprints, AreThoseOfTheFirstLook) {
  const test::TempDir files;
  const std::vector<std::string> alone{files.write("a", "one").string()};
  const std::vector<std::string> both{alone.front(), files.write("b", "two").string()};
  Fingerprints seen;
  const Fingerprint before = seen.of(alone);
  files.replace("a", "three");
  EXPECT_EQ(seen.of(alone), before);
  const Fingerprint of_both = seen.of(both);
  EXPECT_NE(Fingerprints().of(alone), before);
  EXPECT_NE(Fingerprints().of(both), of_both);
  files.replace("a", "one");
  EXPECT_EQ(Fingerprints().of(both), of_both);
}

TEST(Fingerprint, TellsAMissingFileFromAnEmptyOne) {
  const test::TempDir files;
  const Files names{files.write("a", "")};
  const Fingerprint empty = fingerprint(names);
  std::filesystem::remove(names[0]);
  EXPECT_NE(fingerprint(names), empty);
}

TEST(Fingerprint, ChangesWithTheMode) {
  const test::TempDir files;
  const Files names{files.write("a", "one", 0644)};
  const Fingerprint before = fingerprint(names);
  std::filesystem::permissions(names[0], std::filesystem::perms(0600));
  EXPECT_NE(fingerprint(names), before);
}

TEST(Fingerprint, DoesNotWaitForAFifo) {
  const test::TempDir files;
  const Files names{files / "fifo"};
  ASSERT_EQ(mkfifo(names[0].c_str(), 0600), 0);
  const Fingerprint fifo = fingerprint(names);
  EXPECT_EQ(fingerprint(names), fifo);
}

}  // namespace
}  // namespace sallyport::gateway
