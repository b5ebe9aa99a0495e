// The files of cgroup v1 and v2 as systems and containers show them.
#include "gateway/run/cpu_quota.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "tests/support/temp_dir.h"

namespace sallyport::gateway {
namespace {

class CpuQuota : public ::testing::Test {
 protected:
  void write(const std::string& file, const std::string& text) {
    std::filesystem::create_directories((root_ / file).parent_path());
    root_.write(file, text);
  }
  // A mount of cgroup2 that shows the group `shown`, and the group of this process.
  void mount_v2(const std::string& shown, const std::string& ours) {
    write("proc/self/mountinfo",
          "22 1 0:20 / /proc rw,relatime shared:5 - proc proc rw\n"
          "30 22 0:26 " +
              shown + " /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n");
    write("proc/self/cgroup", "0::" + ours + "\n");
  }
  void mount_v1(const std::string& shown, const std::string& ours) {
    write("proc/self/mountinfo",
          "31 22 0:27 " + shown +
              " /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
              "32 22 0:28 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n");
    write("proc/self/cgroup", "5:cpuset:/\n4:cpu,cpuacct:" + ours + "\n");
  }
  std::optional<double> quota() { return cpu_quota(root_.path()); }

  test::TempDir root_;
};

TEST_F(CpuQuota, IsThatOfOurGroupInV2) {
  mount_v2("/", "/system.slice/sallyport.service");
  write("sys/fs/cgroup/system.slice/sallyport.service/cpu.max", "150000 100000\n");
  EXPECT_EQ(quota(), 1.5);
}

TEST_F(CpuQuota, IsTheLeastOfTheGroupsAbove) {
  mount_v2("/", "/pods/pod1/gateway");
  write("sys/fs/cgroup/pods/cpu.max", "400000 100000\n");
  write("sys/fs/cgroup/pods/pod1/cpu.max", "50000 100000\n");
  write("sys/fs/cgroup/pods/pod1/gateway/cpu.max", "max 100000\n");
  EXPECT_EQ(quota(), 0.5);
}

TEST_F(CpuQuota, IsThatAtTheMountPointInAContainer) {
  for (const auto& [shown, ours] :
       {std::pair{"/", "/"}, {"/pods/pod1", "/pods/pod1"}, {"/pods/pod1", "/"}, {"/../..", "/"}}) {
    mount_v2(shown, ours);
    write("sys/fs/cgroup/cpu.max", "200000 100000\n");
    EXPECT_EQ(quota(), 2) << shown << " " << ours;
  }
}

TEST_F(CpuQuota, IsReadFromV1) {
  mount_v1("/", "/docker/4711");
  write("sys/fs/cgroup/cpu,cpuacct/docker/4711/cpu.cfs_quota_us", "250000\n");
  write("sys/fs/cgroup/cpu,cpuacct/docker/4711/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota(), 2.5);

  mount_v1("/docker/4711", "/docker/4711");
  write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "75000\n");
  write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "50000\n");
  EXPECT_EQ(quota(), 1.5);
}

TEST_F(CpuQuota, IsNoneWithoutALimit) {
  EXPECT_FALSE(quota()) << "nothing is mounted";
  mount_v2("/", "/");
  EXPECT_FALSE(quota()) << "the root has no limits";
  write("sys/fs/cgroup/cpu.max", "max 100000\n");
  EXPECT_FALSE(quota());
  mount_v1("/", "/");
  write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  EXPECT_FALSE(quota());
}

TEST_F(CpuQuota, IsNoneWhereTheFilesAreOfAnotherForm) {
  for (const char* text :
       {"", "\n", "- -\n", "100000\n", "0 100000\n", "100000 0\n", "1e999 1\n"}) {
    mount_v2("/", "/");
    write("sys/fs/cgroup/cpu.max", text);
    EXPECT_FALSE(quota()) << text;
  }
}

TEST(CpuQuotaOfThisSystem, CanBeRead) {
  const auto quota = cpu_quota();
  EXPECT_TRUE(!quota || *quota > 0);
}

}  // namespace
}  // namespace sallyport::gateway
