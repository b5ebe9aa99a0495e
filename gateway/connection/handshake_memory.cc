#include "gateway/connection/handshake_memory.h"

#include <utility>

namespace sallyport::gateway {
namespace {

// How many networks are looked at for a waiter that is old enough, so that a flood from many
// networks does not make the choice expensive.
constexpr int kMostNetworks = 32;

}  // namespace

HandshakeMemory::HandshakeMemory(std::size_t limit) noexcept : limit_(limit) {}
HandshakeMemory::~HandshakeMemory() = default;

void HandshakeMemory::set(Holder& holder, bool waiting, std::size_t bytes) {
  if (holder.waiting_ != waiting) {
    Network& network = *holder.network_;
    auto place = by_waiting_.extract(&network);
    waiting ? ++network.waiting : --network.waiting;
    if (place) {
      if (network.waiting > 0) by_waiting_.insert(std::move(place));
    } else {
      by_waiting_.insert(&network);
    }
    holder.waiting_ = waiting;
  }
  held_ += bytes - holder.bytes_;
  holder.bytes_ = bytes;
}

HandshakeMemory::Holder& HandshakeMemory::choose(iouring::TimePoint now) noexcept {
  const iouring::TimePoint old_enough = now - kGrace;
  Holder* fallback = nullptr;
  int looked_at = 0;
  for (Network* network : by_waiting_) {
    Holder* longest = &network->holders.front();
    while (!longest->waiting_) longest = network->holders.next(*longest);
    if (longest->since_ <= old_enough) return *longest;
    if (fallback == nullptr) fallback = longest;
    if (++looked_at == kMostNetworks) break;
  }
  return *fallback;
}

void HandshakeMemory::remove(Holder& holder) {
  set(holder, false, 0);
  Network& network = *holder.network_;
  auto place = by_waiting_.extract(&network);
  holder.unlink();
  if (network.holders.empty()) {
    networks_.erase(network.address);
    return;
  }
  network.since = network.holders.front().since_;
  if (place) by_waiting_.insert(std::move(place));
}

void HandshakeMemory::Holder::join(HandshakeMemory& memory, std::uint64_t network,
                                   iouring::TimePoint now) {
  memory_ = &memory;
  network_ = &memory.networks_[network];
  network_->address = network;
  if (network_->holders.empty()) network_->since = now;
  network_->holders.push_back(*this);
  since_ = now;
}

void HandshakeMemory::Holder::set_waiting(std::size_t bytes, iouring::TimePoint now) {
  if (memory_ == nullptr) return;
  HandshakeMemory& memory = *memory_;
  memory.set(*this, true, bytes);
  while (memory.held_ > memory.limit_) {
    Holder& shed = memory.choose(now);
    shed.leave();
    shed.on_shed();
  }
}

void HandshakeMemory::Holder::set_working() {
  if (memory_ != nullptr) memory_->set(*this, false, 0);
}

void HandshakeMemory::Holder::leave() {
  if (memory_ == nullptr) return;
  memory_->remove(*this);
  memory_ = nullptr;
}

}  // namespace sallyport::gateway
