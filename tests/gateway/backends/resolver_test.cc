#include "gateway/backends/resolver.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <future>
#include <mutex>
#include <string>

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;
using Answer = std::expected<std::vector<iouring::SocketAddress>, std::string>;

// Far more than anything here takes; reached only when something is broken.
constexpr auto kPatience = 60s;

// A name server that the test writes, and a count of announcements.
class Zone {
 public:
  void set(const std::string& name, std::initializer_list<std::string_view> addresses) {
    std::vector<iouring::SocketAddress> parsed;
    for (const auto text : addresses) parsed.push_back(*iouring::SocketAddress::parse(text));
    const std::lock_guard lock(mutex_);
    answers_[name] = parsed;
  }
  void fail(const std::string& name, const std::string& error) {
    const std::lock_guard lock(mutex_);
    answers_[name] = std::unexpected(error);
  }

  Resolver::Lookup lookup() {
    return [this](const std::string& host) -> Answer {
      const std::lock_guard lock(mutex_);
      ++lookups_[host];
      changed_.notify_all();
      const auto found = answers_.find(host);
      if (found == answers_.end()) return std::unexpected("unknown");
      return found->second;
    };
  }
  std::function<void()> announce() {
    return [this] {
      const std::lock_guard lock(mutex_);
      ++announcements_;
      changed_.notify_all();
    };
  }

  // Waits until the resolver's state is what the test waits for.
  template <class Predicate>
  bool eventually(Predicate predicate) {
    std::unique_lock lock(mutex_);
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (true) {
      lock.unlock();
      const bool holds = predicate();
      lock.lock();
      if (holds) return true;
      if (std::chrono::steady_clock::now() > end) return false;
      changed_.wait_for(lock, 1ms);
    }
  }
  bool looked_up(const std::string& name, int times) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return lookups_[name] >= times; });
  }
  int lookups(const std::string& name) {
    const std::lock_guard lock(mutex_);
    return lookups_[name];
  }
  int announcements() {
    const std::lock_guard lock(mutex_);
    return announcements_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, Answer> answers_;
  std::map<std::string, int> lookups_;
  int announcements_ = 0;
};

std::string shown(const Resolver& resolver, const std::string& name) {
  const auto current = resolver.current();
  const auto found = current->find(name);
  if (found == current->end()) return "absent";
  std::string result;
  for (const auto& address : found->second.addresses) result += address.to_string() + " ";
  return result + found->second.error;
}

TEST(Resolver, LooksNamesUpAndAnnouncesThem) {
  Zone zone;
  zone.set("a", {"[::1]:0", "10.0.0.2:0", "10.0.0.1:0", "10.0.0.2:0"});
  Resolver resolver({.interval = 1h, .batch = 1ms, .lookup = zone.lookup()}, zone.announce());
  EXPECT_EQ(shown(resolver, "a"), "absent");
  EXPECT_TRUE(resolver.wait_for_first(0ms)) << "nothing is watched";
  resolver.watch({"a", "b"});
  ASSERT_TRUE(resolver.wait_for_first(kPatience));
  EXPECT_EQ(shown(resolver, "a"), "10.0.0.1:0 10.0.0.2:0 [::1]:0 ") << "sorted, each once";
  EXPECT_EQ(shown(resolver, "b"), "unknown");
  EXPECT_TRUE(zone.eventually([&] { return zone.announcements() >= 1; }));
}

TEST(Resolver, LooksAgainAndKeepsTheLastGoodAddresses) {
  Zone zone;
  zone.set("a", {"10.0.0.1:0"});
  Resolver resolver({.interval = 1ms, .batch = 0ms, .lookup = zone.lookup()}, zone.announce());
  resolver.watch({"a"});
  ASSERT_TRUE(resolver.wait_for_first(kPatience));
  zone.set("a", {"10.0.0.2:0"});
  EXPECT_TRUE(zone.eventually([&] { return shown(resolver, "a") == "10.0.0.2:0 "; }));
  zone.fail("a", "no answer");
  EXPECT_TRUE(zone.eventually([&] { return shown(resolver, "a") == "10.0.0.2:0 no answer"; }));
  zone.set("a", {});
  EXPECT_TRUE(zone.eventually([&] { return shown(resolver, "a") == "10.0.0.2:0 no addresses"; }));
  zone.set("a", {"10.0.0.3:0"});
  EXPECT_TRUE(zone.eventually([&] { return shown(resolver, "a") == "10.0.0.3:0 "; }));
}

TEST(Resolver, AnnouncesOnlyChanges) {
  Zone zone;
  zone.set("a", {"10.0.0.1:0", "10.0.0.2:0"});
  Resolver resolver({.interval = 1ms, .batch = 0ms, .lookup = zone.lookup()}, zone.announce());
  resolver.watch({"a"});
  ASSERT_TRUE(zone.eventually([&] { return zone.announcements() == 1; }));
  const auto before = resolver.current();
  zone.set("a", {"10.0.0.2:0", "10.0.0.1:0"});
  ASSERT_TRUE(zone.looked_up("a", zone.lookups("a") + 5));
  EXPECT_EQ(zone.announcements(), 1) << "another order is no change";
  EXPECT_EQ(resolver.current(), before);
}

TEST(Resolver, ForgetsNamesThatAreNotWatchedAnyMore) {
  Zone zone;
  zone.set("a", {"10.0.0.1:0"});
  zone.set("b", {"10.0.0.2:0"});
  Resolver resolver({.interval = 1ms, .batch = 0ms, .lookup = zone.lookup()}, zone.announce());
  resolver.watch({"a", "b"});
  ASSERT_TRUE(resolver.wait_for_first(kPatience));
  resolver.watch({"b"});
  EXPECT_EQ(shown(resolver, "a"), "absent");
  EXPECT_EQ(shown(resolver, "b"), "10.0.0.2:0 ");
  resolver.watch({"a", "b"});
  ASSERT_TRUE(resolver.wait_for_first(kPatience));
  EXPECT_EQ(shown(resolver, "a"), "10.0.0.1:0 ");
  resolver.watch({});
  EXPECT_TRUE(resolver.current()->empty());
}

TEST(Resolver, ASilentServerHoldsUpNoOtherNameAndNotTheEnd) {
  Zone zone;
  zone.set("good", {"10.0.0.1:0"});
  auto release = std::make_shared<std::promise<void>>();
  const std::shared_future<void> released = release->get_future().share();
  auto entered = std::make_shared<std::promise<void>>();
  auto left = std::make_shared<std::promise<void>>();
  {
    const auto plain = zone.lookup();
    Resolver resolver({.interval = 1h,
                       .batch = 0ms,
                       .lookup = [=](const std::string& host) -> Answer {
                         if (host != "silent") return plain(host);
                         entered->set_value();
                         released.wait();
                         left->set_value();
                         return std::unexpected("timed out");
                       }},
                      zone.announce());
    resolver.watch({"silent"});
    entered->get_future().wait();
    resolver.watch({"good", "silent"});
    EXPECT_TRUE(zone.eventually([&] { return shown(resolver, "good") == "10.0.0.1:0 "; }));
    EXPECT_FALSE(resolver.wait_for_first(0ms));
  }  // returns although the lookup has not
  release->set_value();
  left->get_future().wait();
}

TEST(Resolver, AsksTheSystemByDefault) {
  Resolver resolver({}, nullptr);
  resolver.watch({"localhost"});
  ASSERT_TRUE(resolver.wait_for_first(kPatience));
  const auto current = resolver.current();
  const Resolution& localhost = current->at("localhost");
  EXPECT_EQ(localhost.error, "");
  ASSERT_FALSE(localhost.addresses.empty());
  const std::string address = localhost.addresses[0].to_string();
  EXPECT_TRUE(address.starts_with("127.") || address.starts_with("[::1]")) << address;
}

}  // namespace
}  // namespace sallyport::gateway
