#include "gateway/connection/backend_sessions.h"

#include <cstddef>
#include <exception>
#include <span>
#include <utility>
#include <vector>

#include "gateway/connection/handshake.h"
#include "gateway/connection/shard_state.h"
#include "iouring/timer_wheel.h"
#include "ktls/handshake/ticket_taker.h"

namespace sallyport::gateway {
namespace {

// Servers send their tickets together.
constexpr std::chrono::milliseconds kBetweenTickets{50};

}  // namespace

/// OpenSSL's part of a connection, with the tickets that came for it.
struct BackendSessions::Collected {
  ktls::Sha256 scope;
  std::shared_ptr<const ktls::ClientSession> used;
  std::unique_ptr<ktls::TicketSink> taker;
  std::vector<std::vector<std::byte>> tickets;
  std::vector<ktls::ClientSession> sessions;

  // What is OpenSSL's, so not beside another thread that calls it.
  void make() noexcept {
    for (const std::vector<std::byte>& each : tickets)
      if (!taker->take(each)) break;
    taker.reset();
    used.reset();
  }
};

/// In the record layer of a connection: keeps its tickets until all that are expected have come.
class BackendSessions::Waiting final : public ktls::TicketSink, private iouring::Timer {
 public:
  Waiting(BackendSessions& owner, std::unique_ptr<Collected> collected)
      : owner_(owner), collected_(std::move(collected)) {
    ++owner_.waiting_;
    expire_in(owner_.shard_.timeouts.backend_tickets);
  }
  ~Waiting() override { hand_over(); }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

  bool take(std::span<const std::byte> body) noexcept override {
    if (!collected_) return false;
    try {
      collected_->tickets.emplace_back(body.begin(), body.end());
    } catch (const std::exception& exception) {  // std::bad_alloc
      return false;
    }
    if (collected_->tickets.size() == 1) expire_in(kBetweenTickets);
    return collected_->tickets.size() < ktls::TicketTaker::kMaxTickets;
  }

 private:
  void expire_in(std::chrono::milliseconds time) {
    iouring::Ring& ring = owner_.shard_.ring;
    ring.timers().arm(*this, ring.now() + time);
  }
  void on_expiry() noexcept override { hand_over(); }

  void hand_over() noexcept {
    if (!collected_) return;
    --owner_.waiting_;
    if (owner_.stopped_) return collected_.reset();
    try {
      owner_.making_.spawn(owner_.make_sessions(std::move(collected_)));
    } catch (const std::exception& exception) {  // std::bad_alloc: no sessions of this one
      collected_.reset();
    }
  }

  BackendSessions& owner_;
  std::unique_ptr<Collected> collected_;
};

BackendSessions::BackendSessions(ShardState& shard) : shard_(shard), making_(shard.ring) {}

std::unique_ptr<ktls::TicketSink> BackendSessions::collect(
    ktls::ClientHandshake& tls, const ktls::Sha256& scope,
    std::shared_ptr<const ktls::ClientSession> used) {
  const bool sends_tickets = tls.outcome().state.version == ktls::RecordVersion::kTls13;
  if (sends_tickets && waiting_ == kMostWaiting) return nullptr;
  auto collected = std::make_unique<Collected>();
  collected->scope = scope;
  collected->used = std::move(used);
  collected->taker =
      tls.collect_sessions([&sessions = collected->sessions](ktls::ClientSession session) {
        sessions.push_back(std::move(session));
      });
  if (collected->taker) return std::make_unique<Waiting>(*this, std::move(collected));
  for (ktls::ClientSession& each : collected->sessions) store_.remember(scope, std::move(each));
  return nullptr;
}

iouring::Task<void> BackendSessions::make_sessions(std::unique_ptr<Collected> collected) {
  iouring::Result<> ran = co_await worker_for_step(shard_).run(iouring::Rank::kStarted,
                                                               [&collected] { collected->make(); });
  if (!ran) collected->make();
  for (ktls::ClientSession& each : collected->sessions)
    store_.remember(collected->scope, std::move(each));
}

iouring::Task<void> BackendSessions::stop() {
  stopped_ = true;
  co_await making_.join();
}

}  // namespace sallyport::gateway
