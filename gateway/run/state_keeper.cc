#include "gateway/run/state_keeper.h"

#include <utility>

#include "gateway/observe/log.h"
#include "iouring/signals_masked.h"

namespace sallyport::gateway {

StateKeeper::StateKeeper(StateDir directory, std::string name, metrics::Registry& registry,
                         StatePace pace)
    : directory_(std::move(directory)), name_(std::move(name)), registry_(registry), pace_(pace) {
  const iouring::SignalsMasked masked;
  thread_ = std::jthread([this](const std::stop_token& stop) { write_until(stop); });
}

StateKeeper::~StateKeeper() = default;  // the thread, declared last, ends first

void StateKeeper::keep(std::string text) {
  {
    const std::lock_guard lock(mutex_);
    waiting_ = std::move(text);
  }
  changed_.notify_one();
}

void StateKeeper::write_until(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, stop, [this] { return waiting_.has_value(); })) {
    const std::string text = *std::exchange(waiting_, std::nullopt);
    lock.unlock();
    const auto written = directory_.replace(name_, text);
    report(written);
    lock.lock();
    if (!written && !stop.stop_requested() && !waiting_) waiting_ = text;
    changed_.wait_for(lock, stop, written ? pace_.between : pace_.retry, [] { return false; });
  }
}

void StateKeeper::report(const std::expected<void, std::string>& written) {
  registry_.state_written(written.has_value());
  if (!written && !std::exchange(failing_, true)) {
    log_warning("state not kept, a restart would have an older one", {{"error", written.error()}});
  }
  if (written && std::exchange(failing_, false)) {
    log_info("state kept again", {{"file", directory_.path_of(name_)}});
  }
}

}  // namespace sallyport::gateway
