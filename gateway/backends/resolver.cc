#include "gateway/backends/resolver.h"

#include <ifaddrs.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "iouring/file_descriptor.h"
#include "iouring/invariant.h"
#include "iouring/signals_masked.h"

namespace sallyport::gateway {
namespace {

using Clock = std::chrono::steady_clock;
using Line = NameTable::Line;
using std::chrono::milliseconds;

// Names that are looked up at a time: two queries each, and dnsmasq(8) has room for 150.
constexpr std::size_t kNamesAtATime = 64;
// How many of these may be names that failed before: each may take its servers' whole patience.
constexpr std::size_t kRetriesAtATime = 32;
constexpr std::chrono::hours kForever{1};

// What tells that a file has changed.
struct FileState {
  dev_t device = 0;
  ino_t inode = 0;
  off_t size = 0;
  std::int64_t modified_s = 0;
  std::int64_t modified_ns = 0;

  // All zero where there is none.
  static FileState of(const std::string& path) {
    struct stat found{};
    if (::stat(path.c_str(), &found) != 0) return {};
    return {found.st_dev, found.st_ino, found.st_size, found.st_mtim.tv_sec, found.st_mtim.tv_nsec};
  }
  bool operator==(const FileState&) const = default;
};

// Both where the interfaces have addresses of both, or of neither, or cannot be asked.
int family_of_host() {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return AF_UNSPEC;
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owned(list, &::freeifaddrs);
  bool ipv4 = false;
  bool ipv6 = false;
  for (const ifaddrs* each = list; each; each = each->ifa_next) {
    if (each->ifa_addr == nullptr) continue;
    const int family = each->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    const auto size = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    if (iouring::SocketAddress(each->ifa_addr, size).is_loopback()) continue;
    (family == AF_INET ? ipv4 : ipv6) = true;
  }
  if (ipv4 == ipv6) return AF_UNSPEC;
  return ipv4 ? AF_INET : AF_INET6;
}

}  // namespace

class Resolver::Thread {
 public:
  Thread(Options options, std::function<void()> on_change, iouring::FileDescriptor wake);
  ~Thread();
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;

  void watch(const std::set<std::string>& names);
  std::shared_ptr<const Resolutions> current();
  bool wait_for_first(milliseconds timeout);

 private:
  // The resolver's thread.
  void run(const std::stop_token& stop);
  void look_around();
  void open_channel();
  void begin_lookups();
  std::string take_due();
  bool room_for(Line line) const;
  void store(std::vector<DnsChannel::Finished> finished);
  void announce();
  void wait();
  Clock::time_point next_turn();
  void wake() const;

  const Options options_;
  const std::function<void()> on_change_;
  const iouring::FileDescriptor wake_;  // eventfd(2)

  std::mutex mutex_;
  std::condition_variable stored_;
  NameTable names_;  // under the mutex

  // Of the resolver's thread alone.
  std::expected<DnsChannel, std::string> channel_ = std::unexpected(std::string());
  FileState resolv_conf_;
  int family_ = AF_UNSPEC;
  Clock::time_point looked_at_ = Clock::time_point::min();
  Clock::time_point announced_at_ = Clock::time_point::min();
  std::jthread thread_;  // last: it ends before what it uses
};

Resolver::Thread::Thread(Options options, std::function<void()> on_change,
                         iouring::FileDescriptor wake)
    : options_(std::move(options)),
      on_change_(std::move(on_change)),
      wake_(std::move(wake)),
      names_(options_.times, std::random_device()()) {
  const iouring::SignalsMasked masked;  // signals belong to the control thread
  thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

Resolver::Thread::~Thread() {
  thread_.request_stop();
  wake();
}

void Resolver::Thread::run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    look_around();
    begin_lookups();
    announce();
    wait();
  }
}

// A new resolv.conf is for all: what waits for the old servers is asked of the new ones.
void Resolver::Thread::look_around() {
  const auto now = Clock::now();
  if (now < looked_at_ + options_.look_every) return;
  looked_at_ = now;
  family_ = options_.family ? *options_.family : family_of_host();
  const FileState found = FileState::of(options_.dns.resolv_conf);
  if (channel_ && found == resolv_conf_) return;
  resolv_conf_ = found;
  open_channel();
  const std::lock_guard lock(mutex_);
  names_.retry_now(now);
}

void Resolver::Thread::open_channel() {
  auto opened = DnsChannel::open(options_.dns);
  if (channel_) {
    const std::lock_guard lock(mutex_);
    for (const std::string& host : channel_->under_way()) names_.put_back(host, Clock::now());
  }
  channel_ = std::move(opened);
}

// At most so many in a turn: those that /etc/hosts has end at once.
void Resolver::Thread::begin_lookups() {
  std::vector<DnsChannel::Finished> failed;
  for (std::size_t i = 0; i < kNamesAtATime; ++i) {
    std::string host = take_due();
    if (host.empty()) break;
    if (channel_) {
      channel_->begin(host, family_);
    } else {
      failed.emplace_back(std::move(host), std::unexpected(channel_.error()));
    }
  }
  store(channel_ ? channel_->take_finished() : std::move(failed));
}

std::string Resolver::Thread::take_due() {
  const std::lock_guard lock(mutex_);
  for (const Line line : {Line::kDue, Line::kRetry}) {
    if (!room_for(line)) continue;
    if (std::string host = names_.take(line, Clock::now()); !host.empty()) return host;
  }
  return {};
}

bool Resolver::Thread::room_for(Line line) const {
  if (!channel_ || channel_->count_under_way() < kRetriesAtATime) return true;
  if (channel_->count_under_way() >= kNamesAtATime) return false;
  const auto fails = [this](const std::string& host) { return names_.failing(host); };
  return line == Line::kDue ||
         std::ranges::count_if(channel_->under_way(), fails) < std::ptrdiff_t{kRetriesAtATime};
}

void Resolver::Thread::store(std::vector<DnsChannel::Finished> finished) {
  if (finished.empty()) return;
  const std::lock_guard lock(mutex_);
  for (DnsChannel::Finished& each : finished)
    names_.store(each.host, std::move(each.outcome), Clock::now());
  if (names_.all_looked_up()) stored_.notify_all();
}

void Resolver::Thread::announce() {
  const auto now = Clock::now();
  {
    const std::lock_guard lock(mutex_);
    if (!names_.changed() || now < announced_at_ + options_.batch) return;
    names_.take_change();
  }
  announced_at_ = now;
  if (on_change_) on_change_();
}

void Resolver::Thread::wait() {
  const auto until = std::chrono::ceil<milliseconds>(next_turn() - Clock::now());
  auto most = std::clamp<milliseconds>(until, milliseconds(0), kForever);
  std::vector<pollfd> polled{{wake_.get(), POLLIN, 0}};
  if (channel_) {
    channel_->add_sockets(polled);
    most = channel_->timeout(most);
  }
  const int ready = ::poll(polled.data(), polled.size(), static_cast<int>(most.count()));
  iouring::invariant(ready >= 0 || errno == EINTR || errno == ENOMEM, "poll(2) of open sockets",
                     errno);
  if (ready < 0) return;
  std::uint64_t wakes = 0;
  if (polled[0].revents != 0)
    iouring::invariant(::read(wake_.get(), &wakes, sizeof wakes) == sizeof wakes,
                       "an eventfd(2) that is readable can be read", errno);
  if (!channel_) return;
  channel_->process(std::span(polled).subspan(1));
  store(channel_->take_finished());
}

Clock::time_point Resolver::Thread::next_turn() {
  const std::lock_guard lock(mutex_);
  auto next = NameTable::TimePoint::max();
  for (const Line line : {Line::kDue, Line::kRetry})
    if (room_for(line)) next = std::min(next, names_.next(line));
  if (names_.changed()) next = std::min(next, announced_at_ + options_.batch);
  const bool doubtful = names_.next(Line::kRetry) != NameTable::TimePoint::max() ||
                        (channel_ && channel_->count_under_way() > 0);
  if (doubtful) next = std::min(next, looked_at_ + options_.look_every);
  return next;
}

void Resolver::Thread::wake() const {
  const std::uint64_t one = 1;
  iouring::invariant(::write(wake_.get(), &one, sizeof one) == sizeof one,
                     "an eventfd(2) can be written to", errno);
}

void Resolver::Thread::watch(const std::set<std::string>& names) {
  {
    const std::lock_guard lock(mutex_);
    names_.watch(names);
  }
  wake();
}

std::shared_ptr<const Resolutions> Resolver::Thread::current() {
  const std::lock_guard lock(mutex_);
  return names_.current();
}

bool Resolver::Thread::wait_for_first(milliseconds timeout) {
  std::unique_lock lock(mutex_);
  return stored_.wait_for(lock, timeout, [this] { return names_.all_looked_up(); });
}

iouring::Result<std::unique_ptr<Resolver>> Resolver::start(Options options,
                                                           std::function<void()> on_change) {
  iouring::FileDescriptor wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return iouring::failure(errno);
  return std::unique_ptr<Resolver>(new Resolver(
      std::make_unique<Thread>(std::move(options), std::move(on_change), std::move(wake))));
}

Resolver::Resolver(std::unique_ptr<Thread> thread) : thread_(std::move(thread)) {}
Resolver::~Resolver() = default;

void Resolver::watch(const std::set<std::string>& names) {
  thread_->watch(names);
}

std::shared_ptr<const Resolutions> Resolver::current() const {
  return thread_->current();
}

bool Resolver::wait_for_first(milliseconds timeout) const {
  return thread_->wait_for_first(timeout);
}

}  // namespace sallyport::gateway
