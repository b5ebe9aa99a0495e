#include "gateway/run/drain.h"

#include "gateway/observe/log.h"
#include "iouring/deadline.h"

namespace sallyport::gateway {

bool Drain::first() {
  if (begun_.exchange(true)) return false;
  begun_at_ = loop_.ring->now();
  on_begun_();
  return true;
}

bool Drain::begin() {
  if (!first()) return false;
  loop_.tasks->spawn(drain_after_delay());
  return true;
}

std::chrono::nanoseconds Drain::age() const {
  return begun_ ? loop_.ring->now() - begun_at_ : std::chrono::nanoseconds(0);
}

iouring::Task<void> Drain::drain_after_delay() {
  if (delay_.count() > 0) {
    iouring::Result<> slept = co_await iouring::sleep_for(*loop_.ring, delay_);
    if (!slept) co_return;
  }
  shards_.drain();
}

void Drain::end_at_once() {
  shards_.drain();
  shards_.end_connections();
}

void Drain::shard_ended() {
  if (first()) {
    // Its listeners are gone, and its share of the clients would be refused from now on.
    log_error("a shard ended by itself: draining the others");
    failed_ = true;
    shards_.drain();
  }
  if (--shards_alive_ == 0) loop_.tasks->cancel_all();
}

}  // namespace sallyport::gateway
