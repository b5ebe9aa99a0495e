#pragma once
// Messages into a shard: functions posted from any thread run on the ring's.
#include <atomic>
#include <functional>
#include <memory>

#include "iouring/result.h"
#include "iouring/ring.h"

namespace sallyport::iouring {

/// An atomic mailbox with an eventfd as the bell, rung once per batch. (ThreadSanitizer sees the
/// mailbox; it would not see a message that travels through the ring.) Created and destroyed on the
/// ring's thread, or before the ring runs and after it has stopped.
class Inbox {
 public:
  using Message = std::move_only_function<void()>;

  /// Errors: EMFILE, ENFILE (no descriptor for the bell).
  [[nodiscard]] static Result<std::unique_ptr<Inbox>> create(Ring& ring);
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;
  /// Messages that did not run are destroyed unrun. Nobody may post any more.
  ~Inbox();

  /// Any thread. Messages of one thread run in the order posted, in the run loop, outside any
  /// coroutine.
  void post(Message message);

  /// Run loop: runs what was posted.
  void run_posted();

 private:
  struct Letter {
    Message message;
    Letter* next;
  };
  Inbox(Ring& ring, int bell);
  [[nodiscard]] Letter* take_all() noexcept;

  Ring* ring_;
  int bell_;
  std::atomic<Letter*> letters_ = nullptr;  // newest first
};

}  // namespace sallyport::iouring
