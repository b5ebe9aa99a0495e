#include "gateway/run/file_watch.h"

#include <chrono>

#include "gateway/observe/log.h"
#include "iouring/deadline.h"

namespace sallyport::gateway {
namespace {

// Writers touch several files at once, and one file several times.
constexpr std::chrono::milliseconds kSettle{100};

}  // namespace

void FileWatch::add(const std::vector<std::filesystem::path>& directories) {
  for (const std::filesystem::path& directory : directories) {
    const iouring::Result<int> watched = watch_.add_blocking(directory);
    if (watched) {
      unwatched_.erase(directory);
    } else if (unwatched_.insert(directory).second) {
      log_warning("directory not watched, only looked at every few seconds",
                  {{"directory", directory.string()}, {"error", watched.error().name()}});
    }
  }
}

iouring::Task<iouring::Result<>> FileWatch::changed() {
  iouring::Result<iouring::WatchEvent> event = co_await watch_.next();
  if (!event) co_return std::unexpected(event.error());
  iouring::Result<> settled = co_await iouring::sleep_for(ring_, kSettle);
  if (!settled) co_return settled;
  while (watch_.pending() > 0) {
    [[maybe_unused]] iouring::Result<iouring::WatchEvent> same = co_await watch_.next();
  }
  co_return iouring::Result<>{};
}

}  // namespace sallyport::gateway
