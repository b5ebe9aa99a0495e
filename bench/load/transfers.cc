// Modes `download` and `upload`: so many bytes over connections that are open before the clock
// runs.
#include <algorithm>
#include <array>
#include <deque>

#include "bench/load/run.h"

namespace sallyport::bench {
namespace {

/// 1 MiB that is not all zeros.
std::span<const std::byte> some_bytes() {
  static const std::vector<std::byte> bytes = [] {
    std::vector<std::byte> filled(1 << 20);
    for (size_t i = 0; i < filled.size(); ++i) filled[i] = static_cast<std::byte>(i * 131 >> 5);
    return filled;
  }();
  return bytes;
}

class Transfer final : public HeldConnection {
 public:
  struct Counts : HeldCounts {
    unsigned complete = 0;
  };

  Transfer(Run& run, Counts& counts, bool upload, uint64_t bytes)
      : HeldConnection(run, counts),
        counts_(counts),
        upload_(upload),
        left_(bytes),
        write_(run.options.write != 0 ? run.options.write : bytes) {}

  void begin() {
    const std::array<uint64_t, 2> numbers{left_, write_};
    if (!write_command(upload_ ? 'K' : 'S', std::span(numbers).first(upload_ ? 1 : 2))) return;
    begun_ = true;
    writable();
  }

 private:
  void opened() override { settle(); }

  void writable() override {
    while (begun_ && upload_ && left_ > 0) {
      const auto bytes = some_bytes();
      const size_t count = write(bytes.first(std::min<uint64_t>(bytes.size(), left_)));
      if (count == 0) return;
      left_ -= count;
    }
  }

  void received(std::span<const std::byte> plaintext) override {
    if (upload_) {
      // One byte: the backend has it all.
      if (left_ != 0 || plaintext.size() != 1) return fail("acknowledged too early");
    } else {
      if (plaintext.size() > left_) return fail("more bytes than asked for");
      left_ -= plaintext.size();
      if (left_ != 0) return;
    }
    ++counts_.complete;
    finish();
  }

  Counts& counts_;
  bool upload_;
  uint64_t left_;
  uint64_t write_;
  bool begun_ = false;
};

}  // namespace

int run_transfer(Run& run, bool upload) {
  const unsigned connections = run.options.connections;
  const uint64_t share = run.options.bytes / connections;
  Transfer::Counts counts;
  std::deque<Transfer> transfers;
  std::vector<HeldConnection*> all;
  all.reserve(connections);
  for (unsigned i = 0; i < connections; ++i) {
    all.push_back(&transfers.emplace_back(run, counts, upload, share));
  }
  open_all(run, counts, all);
  // The server is not done yet with a handshake that is over for the client.
  drive(run, Clock::now() + std::chrono::duration_cast<Clock::duration>(run.options.warmup));

  Measurement measurement(run);
  measurement.begin();
  for (Transfer& transfer : transfers) transfer.begin();
  drive(run, Clock::now() + std::chrono::minutes(10), {},
        [&] { return counts.complete + counts.lost == connections; });
  measurement.end();
  if (counts.complete != connections) run.tally.error("not all transfers were complete");

  const auto moved = static_cast<double>(share * connections);
  JsonObject report = new_report(run);
  report.add("bytes", share * connections);
  report.add("gb_per_second", moved / 1e9 / seconds(measurement.wall()));
  measurement.add_to(report, 0, "");
  report.add("cpu_s_per_gb", seconds(measurement.cpu()) / (moved / 1e9));
  print(report);
  return run.tally.errors == 0 ? 0 : 1;
}

}  // namespace sallyport::bench
