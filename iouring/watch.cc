#include "iouring/watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "iouring/poll.h"

namespace sallyport::iouring {

namespace {

// Without IN_MODIFY: a file is read when its writer has closed it, not half-written.
constexpr std::uint32_t kMask = IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM |
                                IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF |
                                IN_ONLYDIR;

}  // namespace

Result<Watch> Watch::create(Ring& ring) {
  FileDescriptor inotify(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!inotify) return failure(errno);
  return Watch(ring, std::move(inotify));
}

Result<int> Watch::add_blocking(const std::filesystem::path& directory) {
  const int watch = ::inotify_add_watch(inotify_.get(), directory.c_str(), kMask);
  if (watch < 0) return failure(errno);
  return watch;
}

Task<Result<WatchEvent>> Watch::next() {
  while (events_.empty()) {
    const Result<> readable = co_await Readable(*ring_, inotify_.get());
    if (!readable) co_return failure(readable.error().value);
    const Result<> read = read_events();
    if (!read) co_return failure(read.error().value);
  }
  WatchEvent event = std::move(events_.front());
  events_.pop_front();
  co_return event;
}

// Not a part of next(), so that the buffer is not in a coroutine frame.
Result<> Watch::read_events() {
  alignas(struct inotify_event) std::array<char, 4096> buffer;
  const ssize_t size = ::read(inotify_.get(), buffer.data(), buffer.size());
  if (size < 0 && errno != EAGAIN && errno != EINTR) return failure(errno);
  for (ssize_t offset = 0; offset < size;) {
    struct inotify_event header = {};
    std::memcpy(&header, buffer.data() + offset, sizeof header);
    const char* name = buffer.data() + offset + sizeof header;
    note(header.wd, header.mask, {name, ::strnlen(name, header.len)});
    offset += static_cast<ssize_t>(sizeof header + header.len);
  }
  return {};
}

void Watch::note(int watch, std::uint32_t mask, std::string_view name) {
  if ((mask & IN_Q_OVERFLOW) != 0) {
    events_.push_back({WatchEvent::Kind::kOverflow, -1, mask, {}});
  } else if ((mask & IN_IGNORED) != 0) {
    events_.push_back({WatchEvent::Kind::kLost, watch, mask, {}});
  } else if ((mask & IN_MOVE_SELF) != 0) {
    // The watch would follow the directory to its new name. Removing it causes IN_IGNORED.
    ::inotify_rm_watch(inotify_.get(), watch);
  } else if ((mask & (IN_DELETE_SELF | IN_UNMOUNT)) == 0) {  // those are followed by IN_IGNORED
    events_.push_back({WatchEvent::Kind::kChanged, watch, mask, std::string(name)});
  }
}

}  // namespace sallyport::iouring
