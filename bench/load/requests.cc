#include "bench/load/requests.h"

#include <algorithm>
#include <array>
#include <utility>

namespace sallyport::bench {

using namespace std::chrono_literals;

struct Requests::Counts : HeldCounts {
  explicit Counts(size_t block) : request(64 * block, std::byte{'R'}) {}
  std::vector<std::byte> request;  // several, for a connection that is behind
  Histogram latencies;
  uint64_t answered = 0;
  unsigned finished = 0;
  bool closed_loop = false;
};

class Requests::Slot final : public HeldConnection {
 public:
  Slot(Run& run, Counts& counts)
      : HeldConnection(run, counts), counts_(counts), block_(run.options.block) {}

  void ask(Clock::time_point intended) {
    intended_.push_back(intended);
    unsent_ += block_;
    writable();
  }

  bool has_asked() const { return !intended_.empty(); }

 private:
  void opened() override {
    const std::array<uint64_t, 1> numbers{block_};
    if (write_command('R', numbers)) ask(Clock::now());
  }

  void writable() override {
    while (unsent_ > 0) {
      const size_t count =
          write(std::span(counts_.request).first(std::min(unsent_, counts_.request.size())));
      if (count == 0) return;
      unsent_ -= count;
    }
  }

  void received(std::span<const std::byte> plaintext) override {
    const auto now = Clock::now();
    for (answer_ += plaintext.size(); answer_ >= block_; answer_ -= block_) {
      if (intended_.empty()) return fail("an answer without a request");
      counts_.latencies.record(now - intended_.front());
      ++counts_.answered;
      intended_.pop_front();
      if (!std::exchange(settled_, true)) settle();  // the server is done with its handshake, too
      if (counts_.closed_loop) ask(now);
    }
  }

  void ended(bool finished) override {
    counts_.finished += finished ? 1 : 0;
    HeldConnection::ended(finished);
  }

  Counts& counts_;
  size_t block_;
  std::deque<Clock::time_point> intended_;
  size_t unsent_ = 0;
  size_t answer_ = 0;
  bool settled_ = false;
};

Requests::Requests(Run& run) : run_(run), counts_(std::make_unique<Counts>(run.options.block)) {
  for (unsigned i = 0; i < run.options.connections; ++i) slots_.emplace_back(run, *counts_);
}

Requests::~Requests() = default;

void Requests::open() {
  std::vector<HeldConnection*> all;
  all.reserve(slots_.size());
  for (Slot& slot : slots_) all.push_back(&slot);
  open_all(run_, *counts_, all);
}

void Requests::work(std::chrono::duration<double> time) {
  const auto until = Clock::now() + std::chrono::duration_cast<Clock::duration>(time);
  if (run_.options.rate == 0) {
    counts_->closed_loop = true;
    for (Slot& slot : slots_) {
      if (slot.is_open() && !slot.has_asked()) slot.ask(Clock::now());
    }
    return drive(run_, until, {}, [this] { return counts_->lost > 0; });
  }
  if (!pace_) pace_ = std::make_unique<Pace>(run_.options.rate, Clock::now());
  const auto ask_due = [this](Clock::time_point now) {
    while (pace_->next() <= now) {
      Slot& slot = slots_[next_slot_++ % slots_.size()];
      const auto intended = pace_->take();
      if (slot.is_open()) slot.ask(intended);
    }
    return pace_->next();
  };
  drive(run_, until, ask_due, [this] { return counts_->lost > 0; });
}

void Requests::forget() {
  counts_->latencies.clear();
  counts_->answered = 0;
}

uint64_t Requests::answered() const {
  return counts_->answered;
}
const Histogram& Requests::latencies() const {
  return counts_->latencies;
}

void Requests::close() {
  counts_->closed_loop = false;
  const auto limit = Clock::now() + 3s;
  for (Slot& slot : slots_) {
    while (slot.has_asked() && slot.is_open() && Clock::now() < limit) run_.loop.turn(limit);
    if (slot.is_open()) slot.finish();
  }
  while (counts_->finished + counts_->lost < slots_.size() && Clock::now() < limit) {
    run_.loop.turn(limit);
  }
}

int run_requests(Run& run) {
  Requests requests(run);
  requests.open();
  requests.work(run.options.warmup);
  requests.forget();
  Measurement measurement(run);
  measurement.begin();
  requests.work(run.options.duration);
  measurement.end();
  const uint64_t answered = requests.answered();
  const Histogram latencies = requests.latencies();
  requests.close();

  JsonObject report = new_report(run);
  report.add("requests", answered);
  if (run.options.rate != 0) report.add("rate", run.options.rate);
  measurement.add_to(report, answered, "request");
  report.add("latency_us", latencies);
  print(report);
  return run.tally.errors == 0 ? 0 : 1;
}

}  // namespace sallyport::bench
