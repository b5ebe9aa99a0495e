// Mode `idle`: many connections, each of which has proved itself by an echo, and what they cost.
#include <array>
#include <deque>

#include "bench/load/run.h"

namespace sallyport::bench {
namespace {

class IdleConnection final : public HeldConnection {
 public:
  IdleConnection(Run& run, HeldCounts& counts) : HeldConnection(run, counts) {}

  void echo() {
    constexpr std::array kEcho{std::byte{'E'}};
    write(kEcho);
  }

 private:
  void opened() override { echo(); }
  void received(std::span<const std::byte> plaintext) override {
    if (plaintext.size() != 1 || plaintext[0] != std::byte{'E'}) return fail("a wrong echo");
    settle();
  }
};

}  // namespace

int run_idle(Run& run) {
  const unsigned connections = run.options.connections;
  const auto after = [](std::chrono::duration<double> time) {
    return Clock::now() + std::chrono::duration_cast<Clock::duration>(time);
  };
  HeldCounts counts;
  TicketSlot ticket;  // shared by all connections
  std::deque<IdleConnection> idle;
  std::vector<HeldConnection*> all;
  all.reserve(connections);
  for (unsigned i = 0; i < connections; ++i) all.push_back(&idle.emplace_back(run, counts));

  const uint64_t before = run.tested.rss_kib();
  open_all(run, counts, all, run.options.resume ? &ticket : nullptr);
  drive(run, after(run.options.settle));
  const uint64_t held = run.tested.rss_kib();
  Measurement resting(run);
  resting.begin();
  drive(run, after(run.options.settle));
  resting.end();

  JsonObject report = new_report(run);
  report.add("ready", uint64_t{connections});
  report.add("resumed", run.tally.resumed);
  report.add("rss_before_kib", before);
  report.add("rss_held_kib", held);
  report.add("kib_per_connection",
             (static_cast<double>(held) - static_cast<double>(before)) / connections);
  resting.add_to(report, 0, "");
  if (run.options.hold.count() == 0) {
    // Each must still be alive: it echoes once more.
    counts.settled = 0;
    for (IdleConnection& connection : idle) connection.echo();
    drive(run, after(std::chrono::seconds(60)), {},
          [&] { return counts.settled + counts.lost == connections; });
    report.add("echoed_again", uint64_t{counts.settled});
    if (counts.settled != connections) run.tally.error("connections were lost");
  }
  print(report);
  if (run.options.hold.count() != 0) drive(run, after(run.options.hold));
  return run.tally.errors == 0 && counts.lost == 0 ? 0 : 1;
}

}  // namespace sallyport::bench
