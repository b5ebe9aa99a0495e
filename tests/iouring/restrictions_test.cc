// What the kernel refuses a ring, tried from within: on the ring's own thread, while it runs.
#include "iouring/restrictions.h"

#include <gtest/gtest.h>
#include <liburing.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <string>
#include <vector>

#include "iouring/operation.h"
#include "tests/iouring/fixture.h"

namespace sallyport::iouring {
namespace {

// An entry without a descriptor or a buffer: where it is let through, it fails in another way.
class Bare final : public Operation {
 public:
  Bare(Ring& ring, unsigned opcode, unsigned flags = 0) noexcept
      : Operation(&ring), opcode_(opcode), flags_(flags) {}
  [[nodiscard]] int await_resume() const noexcept { return -result_; }

 private:
  void prepare(io_uring_sqe& sqe) noexcept override {
    sqe.opcode = static_cast<std::uint8_t>(opcode_);
    sqe.flags = static_cast<std::uint8_t>(flags_);
    sqe.fd = -1;
  }
  unsigned opcode_;
  unsigned flags_;
};

std::set<unsigned> allowed_to(RingUse use) {
  std::set<unsigned> allowed;
  for (const OpcodeFacts& each : opcode_table()) {
    if (each.use && *each.use <= use) allowed.insert(static_cast<unsigned>(each.opcode));
  }
#ifdef SALLYPORT_FAULTS
  allowed.insert(IORING_OP_NOP);
#endif
  return allowed;
}

Task<void> try_other_opcodes(Ring& ring, RingUse use) {
  const std::set<unsigned> allowed = allowed_to(use);
  // NOP128 and URING_CMD128 of Linux 7: there is no room for them, which the kernel sees first.
  constexpr unsigned kWide = 63;
  constexpr unsigned kAlsoWide = 64;
  unsigned tried = 0;
  for (unsigned opcode = 0; opcode < 256; ++opcode) {
    if (allowed.contains(opcode) || !ring.has(static_cast<Opcode>(opcode))) continue;
    const int error = co_await Bare(ring, opcode);
    const bool wide = opcode == kWide || opcode == kAlsoWide;
    EXPECT_EQ(error, wide ? EINVAL : EACCES) << "opcode " << opcode;
    ++tried;
  }
  EXPECT_GT(tried, 30U);  // open, read, write, splice, unlink, openat2, send to another ring, ...
}

TEST(Restrictions, RefuseEachOpcodeThatTheUseDoesNotNeed) {
  for (const RingUse use : {RingUse::kWait, RingUse::kConnect, RingUse::kServe}) {
    auto ring = make_ring({.use = use});
    ring->run(try_other_opcodes(*ring, use));
  }
}

Task<void> try_flags(Ring& ring) {
  for (const unsigned flag : {IOSQE_IO_DRAIN, IOSQE_IO_LINK, IOSQE_ASYNC}) {
    const int error = co_await Bare(ring, IORING_OP_SEND, flag);
    EXPECT_EQ(error, EACCES) << "flag " << flag;
  }
  const int error = co_await Bare(ring, IORING_OP_SEND, IOSQE_FIXED_FILE);
  EXPECT_EQ(error, EBADF) << "one that is in use reaches the operation";
}

TEST(Restrictions, RefuseFlagsThatNothingUses) {
  auto ring = make_ring();
  ring->run(try_flags(*ring));
}

int register_error(Ring& ring, unsigned operation) {
  return ::syscall(__NR_io_uring_register, ring.raw().ring_fd, operation, nullptr, 0) < 0 ? errno
                                                                                          : 0;
}

Task<void> try_to_register(Ring& ring) {
  for (unsigned operation = 0; operation < IORING_REGISTER_LAST; ++operation) {
    if (operation == IORING_REGISTER_RING_FDS || operation == IORING_UNREGISTER_RING_FDS ||
        operation == IORING_UNREGISTER_PBUF_RING)
      continue;
    EXPECT_EQ(register_error(ring, operation), EACCES) << "operation " << operation;
  }
  // Refused for its arguments: let through.
  EXPECT_EQ(register_error(ring, IORING_UNREGISTER_PBUF_RING), EINVAL);
  co_return;
}

// Buffers, files, an eventfd, workers' affinity, personalities, other restrictions: none of them.
TEST(Restrictions, RefuseToRegisterAnythingWithARingThatRuns) {
  auto ring = make_ring();
  ring->run(try_to_register(*ring));
}

TEST(Restrictions, KnowEachOpcodeOnce) {
  std::set<unsigned> seen;
  for (const OpcodeFacts& each : opcode_table()) {
    EXPECT_TRUE(seen.insert(static_cast<unsigned>(each.opcode)).second) << each.name;
    EXPECT_EQ(std::string(each.name).find("IORING_OP_"), 0U);
  }
}

}  // namespace
}  // namespace sallyport::iouring
