#include "iouring/signals.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <vector>

#include "tests/iouring/fixture.h"

namespace sallyport::iouring {
namespace {

Task<void> collect(Signals& signals, std::size_t count, std::vector<int>& seen) {
  while (seen.size() < count) {
    const Result<int> signal = co_await signals.next();
    EXPECT_TRUE(signal);
    if (!signal) co_return;
    seen.push_back(*signal);
  }
}

TEST(Signals, ArriveAsValues) {
  block_signals({SIGHUP, SIGUSR1});
  auto ring = make_ring();
  Result<Signals> signals = Signals::create(*ring, {SIGHUP, SIGUSR1});
  ASSERT_TRUE(signals);
  ::raise(SIGHUP);
  ::raise(SIGUSR1);
  std::vector<int> seen;
  ring->run(collect(*signals, 2, seen));
  EXPECT_EQ(seen, (std::vector<int>{SIGHUP, SIGUSR1}));
}

}  // namespace
}  // namespace sallyport::iouring
