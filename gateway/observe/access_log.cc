#include "gateway/observe/access_log.h"

#include <utility>

#include "iouring/signals_masked.h"

namespace sallyport::gateway {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kBatchBytes = 64 * 1024;
constexpr std::chrono::seconds kReportEvery{1};
// How long a line may wait for others. Waking the writer for each line would cost its shard more
// than making the record does, and often a change of threads on the shard's own core.
constexpr std::chrono::milliseconds kBatchDelay{5};

}  // namespace

struct AccessLog::Node {
  std::optional<ConnectionFacts> record;  // none: the destructor's mark that no more will come
  bool has_line = true;
  Node* older = nullptr;
};

AccessLog::AccessLog(AccessLogOptions options)
    : options_(std::move(options)),
      output_(options_.descriptor, [this] { report_dropped(false); }) {
  const iouring::SignalsMasked masked;  // the thread inherits the mask
  writer_ = std::thread([this] { run(); });
}

AccessLog::~AccessLog() {
  output_.give_up_after(options_.flush_timeout);
  push(new Node);
  writer_.join();
}

void AccessLog::write(ConnectionFacts record) {
  const auto number = written_.fetch_add(1, std::memory_order_relaxed);
  const auto why = gateway::left_out(options_.logged, record, number);
  if (why) left_out_[static_cast<std::size_t>(*why)].fetch_add(1, std::memory_order_relaxed);
  if (why && (!record.refused || why == LeftOut::kLogProbes)) return;
  if (waiting_.fetch_add(1, std::memory_order_relaxed) >= options_.capacity) {
    waiting_.fetch_sub(1, std::memory_order_relaxed);
    if (!why) output_.drop(DropCause::kSlowReader, 1);
    return;
  }
  push(new Node{.record = std::move(record), .has_line = !why});
}

void AccessLog::push(Node* node) {
  Node* older = newest_.load(std::memory_order_relaxed);
  do {
    node->older = older;
  } while (!newest_.compare_exchange_weak(older, node, std::memory_order_release,
                                          std::memory_order_relaxed));
  // Only the first on an empty list can find the writer asleep. The node is the writer's by now.
  if (older == nullptr) newest_.notify_one();
}

void AccessLog::run() {
  std::string text;
  for (bool over = false; !over;) {
    newest_.wait(nullptr, std::memory_order_acquire);
    if (!output_.giving_up()) std::this_thread::sleep_for(kBatchDelay);
    Node* newest = newest_.exchange(nullptr, std::memory_order_acquire);
    Node* oldest = nullptr;
    while (newest != nullptr) {
      Node* next = std::exchange(newest->older, oldest);
      oldest = std::exchange(newest, next);
    }
    while (oldest != nullptr) {
      const std::unique_ptr<Node> node(oldest);
      oldest = node->older;
      if (!node->record) {
        over = true;
        break;  // the newest node: no write() comes after the destructor began
      }
      if (node->has_line) {
        text += format_line(*node->record, options_.format, options_.priorities);
        text += '\n';
      }
      if (options_.on_record) options_.on_record(*std::move(node->record));
      waiting_.fetch_sub(1, std::memory_order_relaxed);
      if (text.size() >= kBatchBytes) output_.write(text);
    }
    output_.write(text);
    report_dropped(over);
  }
}

void AccessLog::report_dropped(bool at_end) {
  const DroppedLines dropped = output_.dropped();
  if (dropped == dropped_reported_ || !options_.on_dropped) return;
  const auto now = Clock::now();
  if (!at_end && now < report_after_) return;
  report_after_ = now + kReportEvery;
  const DroppedLines before = std::exchange(dropped_reported_, dropped);
  for (std::size_t i = 0; i < dropped.size(); ++i) {
    const std::uint64_t lost = dropped[i] - before[i];
    if (lost > 0) options_.on_dropped(static_cast<DropCause>(i), lost);
  }
}

}  // namespace sallyport::gateway
