#include "iouring/frame_pool.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "iouring/sanitizers.h"

namespace sallyport::iouring {
namespace {

TEST(FramePool, CountsLiveFrames) {
  void* small = FramePool::allocate(100);
  void* large = FramePool::allocate(100'000);
  EXPECT_EQ(FramePool::live_frames(), 2U);
  EXPECT_GE(FramePool::live_bytes(), 100'100U);
  EXPECT_LE(FramePool::live_bytes(), 100'128U);
  FramePool::deallocate(small, 100);
  FramePool::deallocate(large, 100'000);
  EXPECT_EQ(FramePool::live_frames(), 0U);
  EXPECT_EQ(FramePool::live_bytes(), 0U);
}

TEST(FramePool, GivesTheSameMemoryAgain) {
  if (kSanitized) GTEST_SKIP() << "sanitized builds keep freed frames apart";
  void* first = FramePool::allocate(256);
  FramePool::deallocate(first, 256);
  void* second = FramePool::allocate(250);
  EXPECT_EQ(first, second);
  FramePool::deallocate(second, 250);
}

TEST(FramePool, ReturnsMemoryToTheKernelWhenIdle) {
  std::vector<void*> frames;
  for (int i = 0; i < 20'000; ++i) frames.push_back(FramePool::allocate(512));
  for (void* frame : frames) FramePool::deallocate(frame, 512);
  EXPECT_EQ(FramePool::live_frames(), 0U);
  EXPECT_LE(FramePool::idle_bytes(), FramePool::kMaxEmptyBytes);
}

TEST(FramePool, PacksIdleFramesTightly) {
  if (kSanitized) GTEST_SKIP() << "sanitized builds have no slabs";
  std::vector<void*> frames;
  for (int i = 0; i < 10'000; ++i) frames.push_back(FramePool::allocate(480));
  EXPECT_LE(FramePool::idle_bytes(), FramePool::live_bytes() / 50);
  for (void* frame : frames) FramePool::deallocate(frame, 480);
}

TEST(FramePool, SurvivesRandomUseWithEveryByteWritten) {
  std::mt19937 random(7);
  std::vector<std::pair<unsigned char*, std::size_t>> frames;
  for (int round = 0; round < 20'000; ++round) {
    if (frames.size() < 500 && random() % 2 == 0) {
      const std::size_t size = 1 + random() % 5000;
      auto* frame = static_cast<unsigned char*>(FramePool::allocate(size));
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(frame) % 16, 0U);
      std::memset(frame, static_cast<int>(size & 0xff), size);
      frames.emplace_back(frame, size);
    } else if (!frames.empty()) {
      std::swap(frames[random() % frames.size()], frames.back());
      const auto [frame, size] = frames.back();
      ASSERT_EQ(frame[0], size & 0xff);
      ASSERT_EQ(frame[size - 1], size & 0xff);
      FramePool::deallocate(frame, size);
      frames.pop_back();
    }
  }
  for (const auto& [frame, size] : frames) FramePool::deallocate(frame, size);
  EXPECT_EQ(FramePool::live_frames(), 0U);
}

TEST(FramePool, TakesBackMemoryThatOtherThreadsFree) {
  std::vector<void*> frames;
  for (int i = 0; i < 1000; ++i) frames.push_back(FramePool::allocate(300));
  void* large = FramePool::allocate(9000);
  std::thread([&] {
    for (void* frame : frames) FramePool::deallocate(frame, 300);
    FramePool::deallocate(large, 9000);
    EXPECT_EQ(FramePool::live_frames(), 0U);
  }).join();
  EXPECT_EQ(FramePool::live_frames(), 0U);
  EXPECT_EQ(FramePool::live_bytes(), 0U);
}

}  // namespace
}  // namespace sallyport::iouring
