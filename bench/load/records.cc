// Mode `records`: what AES-256-GCM costs for TLS 1.3 records, and nothing else: no socket, no
// server. Beside what a plain relay spends it is the floor of every hop that terminates TLS.

#include "bench/load/lean_record.h"
#include "bench/load/run.h"

namespace sallyport::bench {
namespace {

/// Calls `work` again and again for half of --seconds; CPU time of one call.
template <typename Work>
std::chrono::nanoseconds cost_of(const Options& options, const Work& work) {
  const auto enough = std::chrono::duration_cast<std::chrono::nanoseconds>(options.duration) / 2;
  constexpr int kBatch = 64;  // the clock is a system call
  const auto begun = own_cpu_time();
  for (int64_t calls = 0;;) {
    for (int i = 0; i < kBatch; ++i) work();
    calls += kBatch;
    const auto spent = own_cpu_time() - begun;
    if (spent >= enough || stop_requested()) return spent / calls;
  }
}

}  // namespace

int run_records(const Options& options) {
  const size_t size = options.record == 0 ? lean::kMaxPlaintext : options.record;
  const std::vector<std::byte> content(size);
  std::vector<std::byte> record, opened(size + 1);
  lean::Records records;
  lean::Direction direction;
  direction.use({});
  const auto seal = [&] {
    record.clear();
    records.seal(direction, lean::kApplication, content, record);
  };
  const auto sealing = cost_of(options, seal);
  seal();
  const uint64_t sequence = direction.sequence - 1;
  const auto opening = cost_of(options, [&] {
    direction.sequence = sequence;
    if (records.open(direction, record, opened.data()).size != static_cast<ptrdiff_t>(size)) {
      die("a record does not open");
    }
  });

  JsonObject report;
  report.add("mode", options.mode);
  report.add("record", uint64_t{size});
  report.add("seal_us", microseconds(sealing));
  report.add("open_us", microseconds(opening));
  const auto gigabyte = [&](std::chrono::nanoseconds each) {
    return seconds(each) * 1e9 / static_cast<double>(size);
  };
  report.add("seal_cpu_s_per_gb", gigabyte(sealing));
  report.add("open_cpu_s_per_gb", gigabyte(opening));
  print(report);
  return 0;
}

}  // namespace sallyport::bench
