#include "gateway/run/retired.h"

#include <gtest/gtest.h>

#include <thread>

namespace sallyport::gateway {
namespace {

TEST(Retired, IsFreedByItsOwnerOnceNobodyElseHoldsIt) {
  std::thread::id freed_by;
  std::shared_ptr<const int> part(new int(1), [&freed_by](const int* each) {
    freed_by = std::this_thread::get_id();
    delete each;
  });
  Retired retired;
  retired.add(part);
  retired.free_unused();
  EXPECT_EQ(retired.size(), 1U) << "a shard still has it";
  std::thread shard([its = std::move(part)]() mutable { its.reset(); });
  shard.join();
  EXPECT_EQ(freed_by, std::thread::id());
  retired.free_unused();
  EXPECT_EQ(freed_by, std::this_thread::get_id());
  EXPECT_EQ(retired.size(), 0U);
}

}  // namespace
}  // namespace sallyport::gateway
