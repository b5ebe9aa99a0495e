#pragma once
// Messages into a shard: functions posted from any thread run on the ring's.
#include <atomic>
#include <functional>
#include <memory>

#include "iouring/result.h"
#include "iouring/ring.h"

namespace sallyport::iouring {

/// An atomic list of messages; an eventfd wakes the ring, once per batch. (ThreadSanitizer sees the
/// list; it would not see a message that is passed through the ring.) Created and destroyed on the
/// ring's thread, or before the ring runs and after it has stopped.
class Inbox {
 public:
  using Message = std::move_only_function<void()>;

  /// Errors: EMFILE, ENFILE (no descriptor for the eventfd).
  [[nodiscard]] static Result<std::unique_ptr<Inbox>> create(Ring& ring);
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;
  /// Destroys messages that did not run. No thread may post any more.
  ~Inbox();

  /// Any thread. Messages of one thread run in the order posted, in the run loop, outside any
  /// coroutine.
  void post(Message message);

  /// Run loop: runs what was posted.
  void run_posted();

 private:
  struct Posted {
    Message message;
    Posted* next;
  };
  Inbox(Ring& ring, int wake_descriptor);
  [[nodiscard]] Posted* take_all() noexcept;

  Ring* ring_;
  int wake_descriptor_;
  std::atomic<Posted*> posted_ = nullptr;  // newest first
};

}  // namespace sallyport::iouring
