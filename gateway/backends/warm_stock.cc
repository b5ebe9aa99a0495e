#include "gateway/backends/warm_stock.h"

#include <poll.h>

#include "iouring/deadline.h"

namespace sallyport::gateway {

// What a stock, its watch and a claim share of one connection. In the stock's list until it is
// claimed or given up.
struct WarmClaim::Waiting : iouring::ListNode, std::enable_shared_from_this<Waiting> {
  Waiting(std::shared_ptr<WarmStock> its_stock, std::unique_ptr<ReadyConnection> its_connection,
          iouring::TimePoint now, iouring::TimePoint its_end)
      : stock(std::move(its_stock)),
        connection(std::move(its_connection)),
        since(now),
        until(its_end),
        scope(&stock->scope_) {}

  const std::shared_ptr<WarmStock> stock;
  std::unique_ptr<ReadyConnection> connection;  // null: it is none any more
  const iouring::TimePoint since, until;
  iouring::CancelScope scope;         // of the receive
  iouring::Waiter* holder = nullptr;  // that waits for the end of the receive
  bool over = false;                  // the receive is
};

namespace {

// Nothing came while it waited: it was cancelled.
iouring::Task<bool> hear_nothing(ktls::RecordLayer& records) {
  const ktls::Received received = co_await records.receive();
  co_return received.kind == ktls::Received::Kind::kFailed&& received.error.failure ==
      ktls::RecordFailure::kCancelled;
}

// What came behind the receive is of no concern: it is the end of the connection, or it would be
// taken for an answer. (A ticket at this very moment is the only loss.)
bool is_silent(const iouring::Socket& backend) {
  pollfd look{.fd = backend.descriptor(), .events = POLLIN | POLLRDHUP, .revents = 0};
  return ::poll(&look, 1, 0) == 0;
}

}  // namespace

EndpointPlace EndpointPlace::enter(std::shared_ptr<EndpointLife> life, std::uint32_t most) {
  if (!life->enter(most)) return {};
  return EndpointPlace(std::move(life));
}

// ---- a claim

// Cancels the receive of what was claimed, and resumes behind it.
class [[nodiscard]] WarmClaim::Over final : private iouring::Waiter {
 public:
  explicit Over(Waiting& waiting) noexcept : waiting_(waiting) {}
  bool await_ready() const noexcept { return waiting_.over; }
  void await_suspend(std::coroutine_handle<> awaiting) noexcept {
    awaiting_ = awaiting;
    waiting_.holder = this;
    waiting_.scope.cancel();
  }
  void await_resume() const noexcept {}

 private:
  void on_cancel() noexcept override {}
  void on_ready() noexcept override { awaiting_.resume(); }

  Waiting& waiting_;
  std::coroutine_handle<> awaiting_;
};

WarmClaim::WarmClaim(std::shared_ptr<Waiting> waiting) noexcept : waiting_(std::move(waiting)) {}

WarmClaim::~WarmClaim() {
  if (waiting_) waiting_->scope.cancel();
}

const Route& WarmClaim::route() const {
  return *waiting_->stock->route();
}

iouring::Task<std::unique_ptr<ReadyConnection>> WarmClaim::take() {
  Waiting& waiting = *waiting_;
  co_await Over(waiting);
  std::unique_ptr<ReadyConnection> connection = std::move(waiting.connection);
  if (!connection || !is_silent(connection->records->socket())) co_return nullptr;
  WarmStock& stock = *waiting.stock;
  if (stock.retired_ || !stock.keeper_.holds(stock, *connection)) co_return nullptr;
  co_return connection;
}

// ---- the stock

WarmStock::WarmStock(Settings settings, WarmKeeper& keeper, iouring::Ring& ring,
                     iouring::TaskGroup& tasks, metrics::RouteCells& cells)
    : settings_(std::move(settings)),
      keeper_(keeper),
      ring_(ring),
      tasks_(tasks),
      cells_(cells),
      level_(settings_.min, settings_.max) {}

WarmStock::~WarmStock() = default;

void WarmStock::add(std::unique_ptr<ReadyConnection> connection, std::chrono::milliseconds time) {
  if (retired_) return;
  pace_.made(ring_.now());
  auto waiting = std::make_shared<Waiting>(shared_from_this(), std::move(connection), ring_.now(),
                                           ring_.now() + time);
  waiting_.push_back(*waiting);
  ++ready_;
  cells_.warm_opened();
  tasks_.spawn(watch(std::move(waiting)));
}

void WarmStock::remove(Waiting& waiting) noexcept {
  waiting.unlink();
  --ready_;
  cells_.warm_closed();
}

// Until something comes, or its holder, its stock or its time ends the receive.
iouring::Task<void> WarmStock::watch(std::shared_ptr<Waiting> waiting) {
  WarmStock& stock = *waiting->stock;
  bool in_time = true;
  {
    iouring::Deadline deadline(stock.ring_, waiting->scope);
    deadline.arm_at(waiting->until);
    const bool silent =
        co_await iouring::in_scope(waiting->scope, hear_nothing(*waiting->connection->records));
    if (!silent) waiting->connection.reset();
    in_time = !deadline.expired();
  }
  waiting->over = true;
  if (waiting->holder != nullptr) stock.ring_.make_ready(*waiting->holder);
  if (!waiting->linked()) co_return;
  stock.remove(*waiting);
  const auto now = stock.ring_.now();
  if (in_time) {
    stock.pace_.lost(now, now - waiting->since);
  } else {
    stock.level_.unused();
    stock.pace_.lasted();
    waiting->connection.reset();  // before its successor is made
  }
  stock.keeper_.fill(stock);
}

std::optional<WarmClaim> WarmStock::claim() {
  std::optional<WarmClaim> claimed;
  pace_.asked(ring_.now());
  if (waiting_.empty()) {
    level_.missed();
  } else {
    Waiting& youngest = waiting_.back();
    remove(youngest);
    pace_.lasted();
    youngest.connection->place.hand_over();
    claimed = WarmClaim(youngest.shared_from_this());
  }
  keeper_.fill(*this);
  return claimed;
}

void WarmStock::failed() {
  pace_.failed(ring_.now());
}

void WarmStock::give_up(Waiting& waiting) noexcept {
  remove(waiting);
  waiting.scope.cancel();
}

void WarmStock::give_up(std::size_t most) {
  for (std::size_t i = 0; i < most && !waiting_.empty(); ++i) give_up(waiting_.front());
}

void WarmStock::judge() {
  Waiting* next = waiting_.empty() ? nullptr : &waiting_.front();
  while (next != nullptr) {
    Waiting& each = *next;
    next = waiting_.next(each);
    if (!keeper_.holds(*this, *each.connection)) give_up(each);
  }
}

void WarmStock::retire() {
  retired_ = true;
  give_up(ready_);
  scope_.cancel();
}

}  // namespace sallyport::gateway
