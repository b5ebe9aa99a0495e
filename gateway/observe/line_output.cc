#include "gateway/observe/line_output.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <utility>

namespace sallyport::gateway {
namespace {

using Clock = std::chrono::steady_clock;

// The start of `text` that ends with a whole line and is at most `limit` long; a longer first line
// is cut. Others may write to the same pipe: lines of at most PIPE_BUF stay in one piece.
std::string_view whole_lines(std::string_view text, std::size_t limit) {
  if (text.size() <= limit) return text;
  const std::size_t end = text.rfind('\n', limit - 1);
  return text.substr(0, end == std::string_view::npos ? limit : end + 1);
}

// Of a write(2) that failed with this error.
DropCause cause_of(int error) {
  switch (error) {
    case EAGAIN:
      return DropCause::kSlowReader;
    case EPIPE:
    case ECONNRESET:
    case ENOTCONN:
      return DropCause::kBrokenPipe;
    case ENOSPC:
    case EDQUOT:
      return DropCause::kDiskFull;
    default:
      return DropCause::kOther;
  }
}

}  // namespace

LineOutput::LineOutput(int descriptor, std::function<void()> while_waiting)
    : descriptor_(descriptor), while_waiting_(std::move(while_waiting)) {
  struct stat info{};
  if (::fstat(descriptor_, &info) != 0) return;
  if (S_ISREG(info.st_mode)) kind_ = Kind::kFile;
  if (S_ISSOCK(info.st_mode)) kind_ = Kind::kSocket;
}

void LineOutput::write(std::string& lines) {
  if (lines.empty()) return;
  const bool continues = mid_line_;
  if (continues) lines.insert(0, 1, '\n');
  std::string_view rest = lines;
  int error = 0;
  while (!rest.empty()) {
    ssize_t written = 0;
    if (kind_ == Kind::kSocket) {
      written = ::send(descriptor_, rest.data(), rest.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    } else if (kind_ == Kind::kFile) {
      written = ::write(descriptor_, rest.data(), rest.size());
    } else {
      // A blocking pipe: poll() promises room for PIPE_BUF bytes, more could block for good.
      if (!wait_writable()) {
        error = EAGAIN;
        break;
      }
      const std::string_view chunk = whole_lines(rest, PIPE_BUF);
      written = ::write(descriptor_, chunk.data(), chunk.size());
    }
    if (written >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(written));
      continue;
    }
    error = errno;
    if (error == EINTR) continue;
    if (error == EAGAIN && wait_writable()) continue;
    break;
  }
  const std::size_t done = lines.size() - rest.size();
  if (done > 0) mid_line_ = lines[done - 1] != '\n';
  if (done == 0 && continues) rest.remove_prefix(1);  // the end of a line that is counted already
  drop(cause_of(error), static_cast<std::uint64_t>(std::ranges::count(rest, '\n')));
  lines.clear();
}

// False once the reader is waited for no longer.
bool LineOutput::wait_writable() const {
  constexpr int kTickMs = 50;
  for (;;) {
    const std::int64_t give_up_at = give_up_at_.load(std::memory_order_relaxed);
    const bool over = give_up_at != 0 && Clock::now().time_since_epoch().count() >= give_up_at;
    pollfd ready{descriptor_, POLLOUT, 0};
    // An error or a hang-up counts as ready: the write fails with its error.
    if (::poll(&ready, 1, over ? 0 : kTickMs) > 0) return true;
    if (over) return false;
    if (while_waiting_) while_waiting_();
  }
}

void LineOutput::give_up_after(std::chrono::milliseconds timeout) noexcept {
  const Clock::duration at = (Clock::now() + timeout).time_since_epoch();
  give_up_at_.store(at.count(), std::memory_order_relaxed);
}

bool LineOutput::giving_up() const noexcept {
  return give_up_at_.load(std::memory_order_relaxed) != 0;
}

void LineOutput::drop(DropCause cause, std::uint64_t lines) noexcept {
  dropped_[static_cast<std::size_t>(cause)].fetch_add(lines, std::memory_order_relaxed);
}

DroppedLines LineOutput::dropped() const noexcept {
  DroppedLines counts{};
  for (std::size_t i = 0; i < counts.size(); ++i) {
    counts[i] = dropped_[i].load(std::memory_order_relaxed);
  }
  return counts;
}

}  // namespace sallyport::gateway
