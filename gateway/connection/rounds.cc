#include "gateway/connection/rounds.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "gateway/connection/live_connection.h"
#include "gateway/connection/quiet_moment.h"
#include "gateway/connection/relay_look.h"
#include "iouring/deadline.h"

namespace sallyport::gateway {
namespace {

using std::chrono::milliseconds;

// Of those that were looked at the kernel is asked about a few: below 100 µs together, then the
// other work of the shard has its turn.
constexpr std::size_t kLookedAtAtOnce = 200;
constexpr std::size_t kAskedAboutAtOnce = 8;
constexpr milliseconds kStep{1};

// False behind the last, or if its scope was cancelled.
iouring::Task<bool> look_at_some(ShardState& shard, LiveWalk& walk) {
  std::size_t asked = 0;
  for (std::size_t i = 0; i < kLookedAtAtOnce && asked < kAskedAboutAtOnce; ++i) {
    LiveConnection* const connection = walk.next();
    if (connection == nullptr) co_return false;
    if (look_at(*connection)) ++asked;
  }
  iouring::Result<> slept = co_await iouring::sleep_for(shard.ring, kStep);
  co_return slept.has_value();
}

iouring::Task<void> make_round(ShardState& shard) {
  LiveWalk walk(shard);
  bool goes_on = true;
  while (goes_on) goes_on = co_await look_at_some(shard, walk);
}

// One walk, over `time`. False if its scope was cancelled.
iouring::Task<bool> ask_to_end(ShardState& shard, milliseconds time) {
  const std::size_t all = std::max<std::size_t>(shard.live_count, 1);
  const milliseconds step = std::max<milliseconds>(kStep, time / all);
  const auto begun = shard.ring.now();
  LiveWalk walk(shard);
  std::size_t asked = 0;
  for (;;) {
    const double passed = std::chrono::duration<double>(shard.ring.now() - begun) /
                          std::chrono::duration<double>(std::max(time, kStep));
    const auto due = static_cast<std::size_t>(passed * static_cast<double>(all)) + 1;
    for (; asked < due; ++asked) {
      LiveConnection* const connection = walk.next();
      if (connection == nullptr) co_return true;
      end_when_quiet(*connection, CloseReason::kDrain);
    }
    iouring::Result<> slept = co_await iouring::sleep_for(shard.ring, step);
    if (!slept) co_return false;
  }
}

}  // namespace

iouring::Task<void> make_rounds(ShardState& shard) {
  for (;;) {
    iouring::Result<> slept = co_await iouring::sleep_for(shard.ring, shard.timeouts.round);
    if (!slept) co_return;
    shard.peers.forget_old();
    co_await make_round(shard);
  }
}

iouring::Task<void> drain_evenly(ShardState& shard, milliseconds time) {
  bool goes_on = co_await ask_to_end(shard, time);
  while (goes_on) {
    iouring::Result<> slept = co_await iouring::sleep_for(shard.ring, shard.timeouts.still);
    if (!slept) co_return;
    goes_on = co_await ask_to_end(shard, shard.timeouts.still);
  }
}

}  // namespace sallyport::gateway
