#include "gateway/observe/access_log.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <string_view>
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

// The start of `text` that ends with a whole line and is at most `limit` long; a longer first line
// is cut. Others may write to the same pipe: lines of at most PIPE_BUF stay in one piece.
std::string_view whole_lines(std::string_view text, std::size_t limit) {
  if (text.size() <= limit) return text;
  const std::size_t end = text.rfind('\n', limit - 1);
  return text.substr(0, end == std::string_view::npos ? limit : end + 1);
}

}  // namespace

struct AccessLog::Node {
  std::optional<ConnectionFacts> record;  // none: the destructor's mark that no more will come
  Node* older = nullptr;
};

AccessLog::AccessLog(AccessLogOptions options) : options_(std::move(options)), kind_(Kind::kPipe) {
  struct stat info{};
  if (::fstat(options_.descriptor, &info) == 0) {
    if (S_ISREG(info.st_mode)) kind_ = Kind::kFile;
    if (S_ISSOCK(info.st_mode)) kind_ = Kind::kSocket;
  }
  const iouring::SignalsMasked masked;  // the thread inherits the mask
  writer_ = std::thread([this] { run(); });
}

AccessLog::~AccessLog() {
  const Clock::duration give_up = (Clock::now() + options_.flush_timeout).time_since_epoch();
  give_up_at_.store(give_up.count(), std::memory_order_relaxed);
  push(new Node);
  writer_.join();
}

void AccessLog::write(ConnectionFacts record) {
  if (waiting_.fetch_add(1, std::memory_order_relaxed) >= options_.capacity) {
    waiting_.fetch_sub(1, std::memory_order_relaxed);
    dropped_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  push(new Node{std::move(record)});
}

std::uint64_t AccessLog::dropped() const {
  return dropped_.load(std::memory_order_relaxed);
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
    if (give_up_at_.load(std::memory_order_relaxed) == 0) std::this_thread::sleep_for(kBatchDelay);
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
      text += format_line(*node->record, options_.format);
      text += '\n';
      waiting_.fetch_sub(1, std::memory_order_relaxed);
      if (text.size() >= kBatchBytes) write_batch(text);
    }
    write_batch(text);
    report_dropped(over);
  }
}

// Writes and empties `text`; what cannot be written is dropped and counted.
void AccessLog::write_batch(std::string& text) {
  if (mid_line_ && !text.empty()) text.insert(0, 1, '\n');
  std::string_view rest = text;
  while (!rest.empty()) {
    ssize_t written = 0;
    if (kind_ == Kind::kSocket) {
      written = ::send(options_.descriptor, rest.data(), rest.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    } else if (kind_ == Kind::kFile) {
      written = ::write(options_.descriptor, rest.data(), rest.size());
    } else {
      // A blocking pipe: poll() promises room for PIPE_BUF bytes, more could block for good.
      if (!wait_writable()) break;
      const std::string_view chunk = whole_lines(rest, PIPE_BUF);
      written = ::write(options_.descriptor, chunk.data(), chunk.size());
    }
    if (written >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(written));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN && wait_writable()) continue;
    break;
  }
  mid_line_ = rest.size() < text.size() && text[text.size() - rest.size() - 1] != '\n';
  dropped_.fetch_add(static_cast<std::uint64_t>(std::count(rest.begin(), rest.end(), '\n')),
                     std::memory_order_relaxed);
  text.clear();
}

// Waits for the reader; false once the destructor's flush_timeout has passed.
bool AccessLog::wait_writable() {
  constexpr int kTickMs = 50;
  for (;;) {
    pollfd ready{options_.descriptor, POLLOUT, 0};
    // An error or a hang-up counts as ready: the write fails with its error.
    if (::poll(&ready, 1, kTickMs) > 0) return true;
    report_dropped(false);
    const std::int64_t give_up_at = give_up_at_.load(std::memory_order_relaxed);
    if (give_up_at != 0 && Clock::now().time_since_epoch().count() >= give_up_at) return false;
  }
}

void AccessLog::report_dropped(bool at_end) {
  const std::uint64_t lost = dropped() - dropped_reported_;
  if (lost == 0 || !options_.on_dropped) return;
  const auto now = Clock::now();
  if (!at_end && now < report_after_) return;
  report_after_ = now + kReportEvery;
  dropped_reported_ += lost;
  options_.on_dropped(lost);
}

}  // namespace sallyport::gateway
