#include "gateway/backends/name_table.h"

#include <sys/socket.h>

#include <algorithm>
#include <initializer_list>

namespace sallyport::gateway {
namespace {

using Addresses = std::vector<iouring::SocketAddress>;

// Name servers rotate their answers: in a fixed order a rotation is no change.
void sort_unique(Addresses& addresses) {
  std::ranges::sort(addresses, {}, &iouring::SocketAddress::to_string);
  const auto repeated = std::ranges::unique(addresses);
  addresses.erase(repeated.begin(), repeated.end());
}

bool has_family(const Addresses& addresses, int family) {
  return std::ranges::find(addresses, family, &iouring::SocketAddress::family) != addresses.end();
}

bool lacks_a_family(const Addresses& now, const Addresses& before) {
  return std::ranges::any_of(std::initializer_list<int>{AF_INET, AF_INET6}, [&](int family) {
    return has_family(before, family) && !has_family(now, family);
  });
}

}  // namespace

void NameTable::watch(const std::set<std::string>& names) {
  for (auto name = names_.begin(); name != names_.end();) {
    if (names.contains(name->first)) {
      ++name;
      continue;
    }
    queue(line_of(name->second)).erase({name->second.due, name->first});
    if (latest_.erase(name->first) > 0) published_.reset();
    if (!name->second.looked_up) --new_;
    name = names_.erase(name);
  }
  for (const std::string& host : names) {
    const auto [name, fresh] = names_.try_emplace(host);
    if (!fresh) continue;
    due_.emplace(name->second.due, host);
    ++new_;
  }
}

NameTable::TimePoint NameTable::next(Line line) const {
  const Queue& waiting = queue(line);
  return waiting.empty() ? TimePoint::max() : waiting.begin()->first;
}

std::string NameTable::take(Line line, TimePoint now) {
  if (next(line) > now) return {};
  return std::move(queue(line).extract(queue(line).begin()).value().second);
}

bool NameTable::failing(const std::string& host) const {
  const auto name = names_.find(host);
  return name != names_.end() && name->second.failures > 0;
}

void NameTable::store(const std::string& host, std::expected<FoundHost, std::string> outcome,
                      TimePoint now) {
  const auto found = names_.find(host);
  if (found == names_.end()) return;
  Name& name = found->second;
  const auto [entry, fresh] = latest_.try_emplace(host);
  Resolution& resolution = entry->second;
  if (outcome) sort_unique(outcome->addresses);

  if (!std::exchange(name.looked_up, true)) --new_;
  name.failures = outcome ? 0 : name.failures + 1;
  name.doubted =
      outcome && !name.doubted && lacks_a_family(outcome->addresses, resolution.addresses);
  move(host, name, now + pause(name, outcome));

  std::string error = outcome ? std::string() : std::move(outcome.error());
  const bool moved = outcome && !name.doubted && outcome->addresses != resolution.addresses;
  if (fresh || moved || error != resolution.error) {
    changed_ = true;
    published_.reset();
  }
  if (moved) resolution.addresses = std::move(outcome->addresses);
  resolution.error = std::move(error);
}

std::chrono::milliseconds NameTable::pause(const Name& name,
                                           const std::expected<FoundHost, std::string>& outcome) {
  const double chance = std::uniform_real_distribution<>()(random_);
  if (!outcome) return times_.after_failure(name.failures, chance);
  if (name.doubted) return times_.after_failure(1, chance);
  return times_.after_answer(outcome->ttl, chance);
}

void NameTable::move(const std::string& host, Name& name, TimePoint due) {
  due_.erase({name.due, host});
  retries_.erase({name.due, host});
  name.due = due;
  queue(line_of(name)).emplace(due, host);
}

void NameTable::put_back(const std::string& host, TimePoint now) {
  const auto name = names_.find(host);
  if (name != names_.end()) move(host, name->second, now);
}

void NameTable::retry_now(TimePoint now) {
  Queue at_once;
  for (auto& [due, host] : retries_) {
    names_.at(host).due = now;
    at_once.emplace(now, host);
  }
  retries_ = std::move(at_once);
}

std::shared_ptr<const Resolutions> NameTable::current() {
  if (!published_) published_ = std::make_shared<const Resolutions>(latest_);
  return published_;
}

}  // namespace sallyport::gateway
