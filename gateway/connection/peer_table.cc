#include "gateway/connection/peer_table.h"

#include <functional>

namespace sallyport::gateway {
namespace {

// With each that enters, so that they never become many.
constexpr std::size_t kForgottenAtOnce = 2;
constexpr std::size_t kForgottenARound = 200;

std::size_t hash_of(const ktls::PeerTrust& trust, std::string_view route,
                    std::string_view listener) {
  const std::hash<std::string_view> of_text;
  return ktls::PeerTrustHash{}(trust) ^ of_text(route) ^ (of_text(listener) << 1U);
}

}  // namespace

struct PeerTable::Entry : iouring::ListNode {
  Entry(PeerTable* its_table, std::uint64_t its_number,
        std::shared_ptr<const ktls::PeerTrust> its_trust, Routes::value_type* its_route,
        std::string_view its_listener)
      : table(its_table),
        number(its_number),
        trust(std::move(its_trust)),
        route(its_route),
        listener(its_listener) {}

  PeerTable* const table;  // null: in none
  const std::uint64_t number;
  const std::shared_ptr<const ktls::PeerTrust> trust;
  Routes::value_type* const route;
  const std::string_view listener;
  std::multimap<std::size_t, Entry*>::iterator place;  // in known_
  std::size_t connections = 0;
  Time last_seen{};  // while there are none
};

PeerTable::Handle::Handle(std::shared_ptr<const ktls::PeerTrust> trust)
    : Handle(*new Entry(nullptr, 0, std::move(trust), nullptr, {})) {}

PeerTable::Handle::Handle(Entry& entry) noexcept : entry_(&entry) {
  ++entry.connections;
}

PeerTable::Handle::~Handle() {
  if (entry_ == nullptr || --entry_->connections > 0) return;
  if (entry_->table == nullptr) {
    delete entry_;
  } else {
    entry_->table->gone(*entry_);
  }
}

const std::shared_ptr<const ktls::PeerTrust>& PeerTable::Handle::trust() const noexcept {
  return entry_->trust;
}

PeerTable::Entry* PeerTable::find(std::size_t hash, const ktls::PeerTrust& trust,
                                  std::string_view route, std::string_view listener) const {
  const auto [first, last] = known_.equal_range(hash);
  for (auto each = first; each != last; ++each) {
    const Entry& entry = *each->second;
    const bool same = route == entry.route->first && listener == entry.listener &&
                      (&trust == entry.trust.get() || trust == *entry.trust);
    if (same) return each->second;
  }
  return nullptr;
}

PeerTable::PeerTable(metrics::ShardMetrics& metrics, Time (*now)())
    : metrics_(metrics), now_(now) {}

PeerTable::~PeerTable() = default;

PeerTable::Handle PeerTable::enter(const std::shared_ptr<const ktls::PeerTrust>& trust,
                                   std::string_view route, std::string_view listener) {
  forget_some(kForgottenAtOnce);
  const std::size_t hash = hash_of(*trust, route, listener);
  if (Entry* const known = find(hash, *trust, route, listener)) {
    if (known->connections == 0) connected(*known);
    return Handle(*known);
  }
  const std::uint64_t number = ++last_number_;
  Entry& entry =
      entries_.try_emplace(number, this, number, trust, &route_of(route), listener).first->second;
  entry.place = known_.emplace(hash, &entry);
  connected(entry);
  return Handle(entry);
}

PeerTable::Routes::value_type& PeerTable::route_of(std::string_view name) {
  if (const auto known = routes_.find(name); known != routes_.end()) return *known;
  return *routes_.emplace(std::string(name), Route{{}, metrics_.peer_expiry(name)}).first;
}

void PeerTable::connected(Entry& entry) {
  if (entry.linked()) {
    entry.unlink();
    --gone_count_;
  }
  Route& route = entry.route->second;
  ++route.expiries[entry.trust->not_after];
  route.soonest.set(route.expiries.begin()->first);
}

void PeerTable::gone(Entry& entry) {
  entry.last_seen = now_();
  gone_.push_back(entry);
  ++gone_count_;
  Route& route = entry.route->second;
  const auto expiry = route.expiries.find(entry.trust->not_after);
  if (--expiry->second == 0) route.expiries.erase(expiry);
  if (route.expiries.empty()) {
    route.soonest.set(std::nullopt);
  } else {
    route.soonest.set(route.expiries.begin()->first);
  }
}

void PeerTable::forget_old() {
  forget_some(kForgottenARound);
}

void PeerTable::forget_some(std::size_t most) {
  for (; most > 0 && gone_count_ > 0; --most) {
    Entry& oldest = gone_.front();
    if (gone_count_ <= kMostGone && !is_old(oldest)) return;
    oldest.unlink();
    --gone_count_;
    known_.erase(oldest.place);
    entries_.erase(oldest.number);
  }
}

bool PeerTable::is_old(const Entry& entry) const {
  return entry.connections == 0 && now_() - entry.last_seen >= kKept;
}

PeerSlice PeerTable::describe(std::uint64_t after, std::size_t most, WhichPeers which,
                              std::chrono::steady_clock::duration turn) const {
  PeerSlice slice;
  const auto end = std::chrono::steady_clock::now() + turn;
  auto next = entries_.upper_bound(after);
  while (next != entries_.end() && slice.peers.size() < most) {
    const Entry& entry = next->second;
    const bool wanted = which == WhichPeers::kConnected ? entry.connections > 0 : !is_old(entry);
    if (wanted) {
      slice.peers.push_back({.trust = *entry.trust,
                             .route = entry.route->first,
                             .listener = std::string(entry.listener),
                             .connections = entry.connections,
                             .last_seen = entry.connections > 0 ? now_() : entry.last_seen});
    }
    after = entry.number;
    ++next;
    if (std::chrono::steady_clock::now() >= end) break;
  }
  if (next != entries_.end()) slice.next = PeerCursor{.after = after};
  return slice;
}

}  // namespace sallyport::gateway
