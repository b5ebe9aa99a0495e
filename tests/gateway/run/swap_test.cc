// The files of machines, services and containers with and without swap.
#include "gateway/run/swap.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "tests/support/temp_dir.h"

namespace sallyport::gateway {
namespace {

constexpr rlim_t kEightMib = 8U << 20;

class Swap : public ::testing::Test {
 protected:
  void write(const std::string& file, const std::string& text) {
    std::filesystem::create_directories((root_ / file).parent_path());
    root_.write(file, text);
  }
  void add_device(const std::string& line = "/dev/sda2 partition 8388604 0 -2\n") {
    write("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n" + line);
  }
  Swapping found(rlim_t lockable = kEightMib) { return swapping(lockable, root_.path()); }

  test::TempDir root_;
};

TEST_F(Swap, IsImpossibleWithoutADevice) {
  EXPECT_EQ(found(), Swapping::kImpossible) << "a kernel without swap has no such file";
  add_device("");
  EXPECT_EQ(found(), Swapping::kImpossible);
}

TEST_F(Swap, IsPossibleWhereALimitKeepsMemoryFromBeingLocked) {
  add_device();
  EXPECT_EQ(found(), Swapping::kPossible);
  EXPECT_EQ(found(RLIM_INFINITY), Swapping::kLockable);
}

TEST_F(Swap, IsImpossibleWhereAControlGroupForbidsIt) {
  add_device();
  write("proc/self/cgroup", "1:cpu:/other\n0::/system.slice/sallyport.service\n");
  write("sys/fs/cgroup/system.slice/sallyport.service/memory.swap.max", "max\n");
  EXPECT_EQ(found(), Swapping::kPossible);
  write("sys/fs/cgroup/system.slice/sallyport.service/memory.swap.max", "0\n");
  EXPECT_EQ(found(), Swapping::kImpossible);
}

TEST_F(Swap, IsImpossibleWhereAGroupAboveForbidsIt) {
  add_device();
  write("proc/self/cgroup", "0::/system.slice/sallyport.service\n");
  write("sys/fs/cgroup/system.slice/memory.swap.max", "0\n");
  EXPECT_EQ(found(RLIM_INFINITY), Swapping::kImpossible);
}

TEST_F(Swap, IsImpossibleInAContainerWithoutIt) {
  add_device();
  write("proc/self/cgroup", "0::/\n");
  write("sys/fs/cgroup/memory.swap.max", "0\n");
  EXPECT_EQ(found(), Swapping::kImpossible);
}

}  // namespace
}  // namespace sallyport::gateway
