#pragma once
// Cancellation: a scope lists what waits under it, and cancels all of it at once.
//
// A coroutine inherits its scope from the coroutine that awaits it (the promise holds the pointer);
// operations register by intrusive links, so that nothing is allocated. Cancelling is a request:
// each operation then completes with ECANCELED, or with its result where that came first, and the
// coroutine returns by itself. Nothing is destroyed from outside.
#include "iouring/list.h"

namespace sallyport::iouring {

/// What a suspended coroutine waits with: linked into its scope while it waits, then into the
/// ring's ready queue. Never into both at once, so that one pair of links is enough.
class Waiter : public ListNode {
 public:
  /// The scope was cancelled; the waiter has been unlinked. Must not resume a coroutine.
  virtual void on_cancel() noexcept = 0;
  /// Called from the run loop's ready phase; the waiter has been unlinked. May resume a coroutine.
  virtual void on_ready() noexcept = 0;

 protected:
  Waiter() noexcept = default;
  ~Waiter() = default;
};

/// Everything awaited under a scope is cancelled with it, child scopes included. Operations started
/// later complete at once with ECANCELED and are never submitted.
/// Belongs to one shard; outlives what runs under it (checked).
class CancelScope final : private Waiter {
 public:
  /// `parent` may be null: a root. A child of a cancelled parent is cancelled from the start.
  explicit CancelScope(CancelScope* parent = nullptr) noexcept;
  ~CancelScope();

  /// Idempotent. Resumes nothing: what was cancelled is resumed by the run loop.
  void cancel() noexcept;
  [[nodiscard]] bool cancelled() const noexcept { return cancelled_; }

  /// For awaitables: calls waiter.on_cancel() when the scope is cancelled, until it is unlinked.
  /// Not to be called on a cancelled scope.
  void add(Waiter& waiter) noexcept;

 private:
  void on_cancel() noexcept override { cancel(); }
  void on_ready() noexcept override {}

  List<Waiter> waiters_;
  bool cancelled_ = false;
};

}  // namespace sallyport::iouring
