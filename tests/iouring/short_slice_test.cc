#include "iouring/short_slice.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include <chrono>
#include <cstdio>
#include <thread>

namespace sallyport::iouring {
namespace {

using std::chrono::microseconds;

bool kernel_knows_slices() {
  utsname name{};
  EXPECT_EQ(::uname(&name), 0);
  int major = 0;
  int minor = 0;
  EXPECT_EQ(std::sscanf(name.release, "%d.%d", &major, &minor), 2);
  return major > 6 || (major == 6 && minor >= 12);
}

TEST(ShortSlice, IsWhatTheThreadThenHas) {
  if (!kernel_knows_slices()) GTEST_SKIP() << "this kernel gives no slices (since Linux 6.12)";
  std::thread([] {
    EXPECT_TRUE(ask_for_slice(microseconds(300)));
    EXPECT_EQ(slice_asked_for(), microseconds(300));
  }).join();
}

TEST(ShortSlice, LeavesClassAndNiceValue) {
  std::thread([] {
    ASSERT_EQ(::setpriority(PRIO_PROCESS, 0, 3), 0);  // of this thread
    EXPECT_TRUE(ask_for_slice(microseconds(300)));
    EXPECT_EQ(::sched_getscheduler(0), SCHED_OTHER);
    EXPECT_EQ(::getpriority(PRIO_PROCESS, 0), 3);
  }).join();
}

TEST(ShortSlice, IsNothingForAThreadOfAnotherClass) {
  std::thread([] {
    const sched_param none{};
    ASSERT_EQ(::sched_setscheduler(0, SCHED_IDLE, &none), 0);
    EXPECT_FALSE(ask_for_slice(microseconds(300)));
    EXPECT_EQ(::sched_getscheduler(0), SCHED_IDLE);
  }).join();
}

}  // namespace
}  // namespace sallyport::iouring
