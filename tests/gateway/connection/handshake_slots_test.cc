#include "gateway/connection/handshake_slots.h"

#include <cerrno>
#include <vector>

#include "iouring/task_group.h"
#include "tests/iouring/fixture.h"

namespace sallyport::gateway {
namespace {

using iouring::Task;

constexpr std::uint64_t kNetwork = 1;
constexpr std::uint64_t kOther = 2;

struct Log {
  std::vector<int> entered;
  std::vector<int> cancelled;
};

Task<void> enter_and_stay(iouring::Ring& ring, HandshakeSlots& slots, int name, Log& log,
                          std::uint64_t network = kNetwork) {
  iouring::Result<HandshakeSlots::Slot> slot = co_await slots.enter(network);
  if (!slot) {
    EXPECT_EQ(slot.error().value, ECANCELED);
    log.cancelled.push_back(name);
    co_return;
  }
  log.entered.push_back(name);
  EXPECT_LE(slots.in_use(), 2u);
  co_await next_iteration(ring);
}

Task<void> six_at_two_places(iouring::Ring& ring, HandshakeSlots& slots, Log& log) {
  iouring::TaskGroup group(ring);
  for (int i = 0; i < 6; ++i) group.spawn(enter_and_stay(ring, slots, i, log));
  co_await group.join();
}

TEST(HandshakeSlots, LetsInSoManyAtATimeInOrderOfArrival) {
  const auto ring = iouring::make_ring();
  HandshakeSlots slots(*ring, 2);
  Log log;
  ring->run(six_at_two_places(*ring, slots, log));
  EXPECT_EQ(log.entered, (std::vector<int>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(slots.in_use(), 0u);
}

Task<void> five_of_a_network_before_two_of_another(iouring::Ring& ring, HandshakeSlots& slots,
                                                   Log& log) {
  iouring::TaskGroup group(ring);
  {
    iouring::Result<HandshakeSlots::Slot> mine = co_await slots.enter(kNetwork);
    EXPECT_TRUE(mine);
    for (int i = 0; i < 5; ++i) group.spawn(enter_and_stay(ring, slots, i, log, kNetwork));
    for (int i = 5; i < 7; ++i) group.spawn(enter_and_stay(ring, slots, i, log, kOther));
    co_await next_iteration(ring);
  }
  co_await group.join();
}

TEST(HandshakeSlots, GoByTurnsOfTheNetworks) {
  const auto ring = iouring::make_ring();
  HandshakeSlots slots(*ring, 1);
  Log log;
  ring->run(five_of_a_network_before_two_of_another(*ring, slots, log));
  EXPECT_EQ(log.entered, (std::vector<int>{0, 5, 1, 6, 2, 3, 4}));
  EXPECT_EQ(slots.in_use(), 0u);
}

Task<void> cancel_the_only_one_of_a_network(iouring::Ring& ring, HandshakeSlots& slots, Log& log) {
  iouring::TaskGroup group(ring);
  {
    iouring::Result<HandshakeSlots::Slot> mine = co_await slots.enter(kNetwork);
    EXPECT_TRUE(mine);
    iouring::CancelScope& only = group.spawn(enter_and_stay(ring, slots, 1, log, kOther));
    group.spawn(enter_and_stay(ring, slots, 2, log, kNetwork));
    co_await next_iteration(ring);
    only.cancel();
    co_await next_iteration(ring);
    group.spawn(enter_and_stay(ring, slots, 3, log, kOther));
    co_await next_iteration(ring);
  }
  co_await group.join();
}

TEST(HandshakeSlots, ForgetsANetworkWithItsLastWaiter) {
  const auto ring = iouring::make_ring();
  HandshakeSlots slots(*ring, 1);
  Log log;
  ring->run(cancel_the_only_one_of_a_network(*ring, slots, log));
  EXPECT_EQ(log.cancelled, std::vector<int>{1});
  EXPECT_EQ(log.entered, (std::vector<int>{2, 3}));
}

Task<void> hold_and_cancel(iouring::Ring& ring, HandshakeSlots& slots, Log& log) {
  iouring::TaskGroup group(ring);
  {
    iouring::Result<HandshakeSlots::Slot> mine = co_await slots.enter(kNetwork);
    EXPECT_TRUE(mine);
    iouring::CancelScope& first = group.spawn(enter_and_stay(ring, slots, 1, log));
    group.spawn(enter_and_stay(ring, slots, 2, log));
    co_await next_iteration(ring);
    first.cancel();
    co_await next_iteration(ring);
    EXPECT_EQ(log.cancelled, std::vector<int>{1});
    EXPECT_TRUE(log.entered.empty());
  }
  co_await group.join();
}

TEST(HandshakeSlots, ForgetsAWaiterThatGivesUp) {
  const auto ring = iouring::make_ring();
  HandshakeSlots slots(*ring, 1);
  Log log;
  ring->run(hold_and_cancel(*ring, slots, log));
  EXPECT_EQ(log.entered, std::vector<int>{2});
  EXPECT_EQ(slots.in_use(), 0u);
}

Task<void> cancel_just_after_the_place_passed_on(iouring::Ring& ring, HandshakeSlots& slots,
                                                 Log& log) {
  iouring::TaskGroup group(ring);
  iouring::CancelScope* waiting = nullptr;
  {
    iouring::Result<HandshakeSlots::Slot> mine = co_await slots.enter(kNetwork);
    EXPECT_TRUE(mine);
    waiting = &group.spawn(enter_and_stay(ring, slots, 1, log));
    co_await next_iteration(ring);
  }
  waiting->cancel();
  co_await group.join();
}

TEST(HandshakeSlots, LosesNoPlaceWhenCancelAndEntryMeet) {
  const auto ring = iouring::make_ring();
  HandshakeSlots slots(*ring, 1);
  Log log;
  ring->run(cancel_just_after_the_place_passed_on(*ring, slots, log));
  EXPECT_EQ(log.entered, std::vector<int>{1});
  EXPECT_EQ(slots.in_use(), 0u);
}

Task<void> take_above_the_limit(iouring::Ring& ring, HandshakeSlots& slots, Log& log) {
  iouring::TaskGroup group(ring);
  {
    iouring::Result<HandshakeSlots::Slot> mine = co_await slots.enter(kNetwork);
    EXPECT_TRUE(mine);
    group.spawn(enter_and_stay(ring, slots, 1, log));
    co_await next_iteration(ring);
    {
      const HandshakeSlots::Slot begun = slots.enter_now();
      EXPECT_EQ(slots.in_use(), 2u);
      *mine = {};
      co_await next_iteration(ring);
      EXPECT_TRUE(log.entered.empty()) << "the one above the limit counts";
    }
  }
  co_await group.join();
}

TEST(HandshakeSlots, GivesOneAboveTheLimitToAHandshakeThatWasBegun) {
  const auto ring = iouring::make_ring();
  HandshakeSlots slots(*ring, 1);
  Log log;
  ring->run(take_above_the_limit(*ring, slots, log));
  EXPECT_EQ(log.entered, std::vector<int>{1});
  EXPECT_EQ(slots.in_use(), 0u);
}

}  // namespace
}  // namespace sallyport::gateway
