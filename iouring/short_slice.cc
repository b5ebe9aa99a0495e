#include "iouring/short_slice.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <optional>

namespace sallyport::iouring {
namespace {

// sched_setattr(2), which glibc has since 2.41 only.
struct Attributes {
  std::uint32_t size = sizeof(Attributes);
  std::uint32_t policy = 0;
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime_ns = 0;  // of an ordinary class: the slice
  std::uint64_t deadline_ns = 0;
  std::uint64_t period_ns = 0;
};
static_assert(sizeof(Attributes) == 48, "SCHED_ATTR_SIZE_VER0");

std::optional<Attributes> attributes() {
  Attributes read;
  if (::syscall(SYS_sched_getattr, 0, &read, sizeof read, 0) != 0) return std::nullopt;
  return read;
}

bool is_ordinary(const Attributes& thread) {
  return thread.policy == SCHED_OTHER || thread.policy == SCHED_BATCH;
}

}  // namespace

bool ask_for_slice(std::chrono::nanoseconds time) {
  std::optional<Attributes> wanted = attributes();
  if (!wanted || !is_ordinary(*wanted)) return false;
  wanted->size = sizeof *wanted;
  wanted->runtime_ns = static_cast<std::uint64_t>(time.count());
  return ::syscall(SYS_sched_setattr, 0, &*wanted, 0) == 0;
}

std::chrono::nanoseconds slice_asked_for() {
  const std::optional<Attributes> read = attributes();
  if (!read || !is_ordinary(*read)) return {};
  return std::chrono::nanoseconds(read->runtime_ns);
}

}  // namespace sallyport::iouring
