// Modes `handshake` and `resumed`: connect, one byte there and back, close; again.
#include <array>
#include <deque>

#include "bench/load/run.h"

namespace sallyport::bench {
namespace {

using namespace std::chrono_literals;

class HandshakeSlot;

struct Handshakes {
  std::vector<HandshakeSlot*> free;
  Histogram latencies;  // from the intended moment to the byte that came back
  uint64_t units = 0;
  bool running = true;
  bool closed_loop = true;
  bool resume = false;
};

class HandshakeSlot final : public Connection {
 public:
  HandshakeSlot(Run& run, Handshakes& all) : Connection(run.context), all_(all) {}

  void begin(Clock::time_point intended) {
    intended_ = intended;
    must_resume_ = tickets_ != nullptr;
    open(all_.resume ? &tickets_ : nullptr);
  }

 private:
  void opened() override {
    constexpr std::array kEcho{std::byte{'E'}};
    if (must_resume_ && !stream().resumed()) context().tally.error("not resumed");
    write(kEcho);
  }

  void received(std::span<const std::byte>) override {
    all_.latencies.record(Clock::now() - intended_);
    ++all_.units;
    finish();
  }

  void ended(bool) override {
    if (all_.running && all_.closed_loop) {
      begin(Clock::now());
    } else {
      all_.free.push_back(this);
    }
  }

  Handshakes& all_;
  TicketSlot tickets_;
  Clock::time_point intended_;
  bool must_resume_ = false;
};

}  // namespace

int run_handshakes(Run& run, bool resume) {
  Handshakes all;
  all.resume = resume;
  all.closed_loop = run.options.rate == 0;
  std::deque<HandshakeSlot> slots;
  for (unsigned i = 0; i < run.options.connections; ++i) {
    all.free.push_back(&slots.emplace_back(run, all));
  }

  Pace pace(all.closed_loop ? 1 : run.options.rate, Clock::now());
  const auto begin_due = [&](Clock::time_point now) {
    while (!all.free.empty() && (all.closed_loop || pace.next() <= now)) {
      HandshakeSlot* const slot = all.free.back();
      all.free.pop_back();
      slot->begin(all.closed_loop ? now : pace.take());
    }
    // With all slots busy the next event is what frees one.
    return all.closed_loop || all.free.empty() ? now + 1s : pace.next();
  };
  const auto after = [](std::chrono::duration<double> time) {
    return Clock::now() + std::chrono::duration_cast<Clock::duration>(time);
  };

  drive(run, after(run.options.warmup), begin_due);
  all.latencies.clear();
  all.units = 0;
  run.tally.opened = run.tally.resumed = 0;
  Measurement measurement(run);
  measurement.begin();
  drive(run, after(run.options.duration), begin_due);
  measurement.end();
  const uint64_t units = all.units;
  const Histogram latencies = all.latencies;

  // What is on its way ends in order, so that the next run meets an idle server.
  all.running = false;
  const auto limit = Clock::now() + 3s;
  while (all.free.size() < slots.size() && Clock::now() < limit) run.loop.turn(limit);

  JsonObject report = new_report(run);
  report.add("handshakes", units);
  report.add("resumed", run.tally.resumed);
  report.add("unfinished", uint64_t{slots.size() - all.free.size()});
  measurement.add_to(report, units, "handshake");
  report.add("latency_us", latencies);
  print(report);
  return run.tally.errors == 0 ? 0 : 1;
}

}  // namespace sallyport::bench
