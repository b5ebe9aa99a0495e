#include "gateway/connection/fair_slots.h"

#include <cerrno>
#include <memory>
#include <utility>
#include <vector>

#include "iouring/task_group.h"
#include "tests/iouring/fixture.h"

namespace sallyport::gateway {
namespace {

using iouring::Task;

constexpr std::uint64_t kNetwork = 1;
constexpr std::uint64_t kOther = 2;

class FairSlotsTest : public ::testing::Test {
 protected:
  explicit FairSlotsTest(unsigned slots = 1) : slots_(*ring_, slots) {}

  // Enters, and leaves an iteration later.
  Task<void> enter_and_stay(int name, std::uint64_t network) {
    iouring::Result<FairSlots::Slot> slot = co_await slots_.enter(network);
    if (!slot) {
      EXPECT_EQ(slot.error().value, ECANCELED);
      cancelled_.push_back(name);
      co_return;
    }
    entered_.push_back(name);
    EXPECT_LE(slots_.in_use(), 2u);
    co_await next_iteration(*ring_);
  }
  iouring::CancelScope& spawn(int name, std::uint64_t network = kNetwork) {
    return group_.spawn(enter_and_stay(name, network));
  }

  // Takes a slot, plays `story`, gives the slot back if the story has not, and waits for what it
  // spawned.
  Task<void> hold_while(Task<void> story) {
    iouring::Result<FairSlots::Slot> slot = co_await slots_.enter(kNetwork);
    EXPECT_TRUE(slot);
    held_ = *std::move(slot);
    co_await std::move(story);
    held_ = {};
    co_await group_.join();
  }
  void run(Task<void> story) {
    ring_->run(hold_while(std::move(story)));
    EXPECT_EQ(slots_.in_use(), 0u);
  }

  Task<void> six_at_once();
  Task<void> five_of_a_network_before_two_of_another();
  Task<void> cancel_the_only_one_of_a_network();
  Task<void> cancel_the_first_of_two();
  Task<void> cancel_just_after_the_slot_passed_on();
  Task<void> take_above_the_limit();

  std::unique_ptr<iouring::Ring> ring_ = iouring::make_ring();
  FairSlots slots_;
  FairSlots::Slot held_;
  iouring::TaskGroup group_{*ring_};
  std::vector<int> entered_;
  std::vector<int> cancelled_;
};

class TwoFairSlots : public FairSlotsTest {
 protected:
  TwoFairSlots() : FairSlotsTest(2) {}
};

Task<void> FairSlotsTest::six_at_once() {
  held_ = {};
  for (int i = 0; i < 6; ++i) spawn(i);
  co_return;
}

TEST_F(TwoFairSlots, LetInSoManyAtATimeInOrderOfArrival) {
  run(six_at_once());
  EXPECT_EQ(entered_, (std::vector<int>{0, 1, 2, 3, 4, 5}));
}

Task<void> FairSlotsTest::five_of_a_network_before_two_of_another() {
  for (int i = 0; i < 5; ++i) spawn(i, kNetwork);
  for (int i = 5; i < 7; ++i) spawn(i, kOther);
  co_await next_iteration(*ring_);
}

TEST_F(FairSlotsTest, AlternateBetweenTheNetworks) {
  run(five_of_a_network_before_two_of_another());
  EXPECT_EQ(entered_, (std::vector<int>{0, 5, 1, 6, 2, 3, 4}));
}

Task<void> FairSlotsTest::cancel_the_only_one_of_a_network() {
  iouring::CancelScope& only = spawn(1, kOther);
  spawn(2, kNetwork);
  co_await next_iteration(*ring_);
  only.cancel();
  co_await next_iteration(*ring_);
  spawn(3, kOther);
  co_await next_iteration(*ring_);
}

TEST_F(FairSlotsTest, ForgetANetworkWithItsLastWaiter) {
  run(cancel_the_only_one_of_a_network());
  EXPECT_EQ(cancelled_, std::vector<int>{1});
  EXPECT_EQ(entered_, (std::vector<int>{2, 3}));
}

Task<void> FairSlotsTest::cancel_the_first_of_two() {
  iouring::CancelScope& first = spawn(1);
  spawn(2);
  co_await next_iteration(*ring_);
  first.cancel();
  co_await next_iteration(*ring_);
  EXPECT_EQ(cancelled_, std::vector<int>{1});
  EXPECT_TRUE(entered_.empty());
}

TEST_F(FairSlotsTest, ForgetAWaiterThatGivesUp) {
  run(cancel_the_first_of_two());
  EXPECT_EQ(entered_, std::vector<int>{2});
}

Task<void> FairSlotsTest::cancel_just_after_the_slot_passed_on() {
  iouring::CancelScope& waiting = spawn(1);
  co_await next_iteration(*ring_);
  held_ = {};
  waiting.cancel();
}

TEST_F(FairSlotsTest, LoseNoSlotWhenCancelAndEntryMeet) {
  run(cancel_just_after_the_slot_passed_on());
  EXPECT_EQ(entered_, std::vector<int>{1});
}

Task<void> FairSlotsTest::take_above_the_limit() {
  spawn(1);
  co_await next_iteration(*ring_);
  const FairSlots::Slot begun = slots_.enter_now();
  EXPECT_EQ(slots_.in_use(), 2u);
  held_ = {};
  co_await next_iteration(*ring_);
  EXPECT_TRUE(entered_.empty()) << "the one above the limit counts";
}

TEST_F(FairSlotsTest, GiveOneAboveTheLimitToAHandshakeThatWasBegun) {
  run(take_above_the_limit());
  EXPECT_EQ(entered_, std::vector<int>{1});
}

}  // namespace
}  // namespace sallyport::gateway
