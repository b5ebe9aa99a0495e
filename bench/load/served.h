// A connection of sallyport-backend.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "bench/load/loop.h"
#include "bench/load/stream.h"

namespace sallyport::bench {

/// What all connections of a backend share.
struct House {
  std::vector<std::byte> in = std::vector<std::byte>(256 << 10);
  std::vector<std::byte> out = std::vector<std::byte>(256 << 10, std::byte{'R'});
  uint64_t full = 0;     ///< handshakes so far
  uint64_t resumed = 0;  ///< the same
};

/// Does what the first byte says (backend.cc). Deletes itself when its peer is gone.
class Served final : public Watched {
 public:
  /// `tls`: over `socket`; null: plaintext. `house` outlives it.
  Served(Fd socket, std::unique_ptr<Stream> tls, House& house)
      : house_(house), socket_(std::move(socket)), tls_(std::move(tls)), shaken_(!tls_) {}

  void ready(uint32_t events) override {
    if (!goes_on((events & EPOLLRDHUP) != 0)) delete this;
  }

 private:
  // Each is false when the connection is over.
  bool goes_on(bool ends);
  bool shake_hands();
  bool receive(bool ends);
  bool receive_tls();
  bool send();

  Io send_some(std::span<const std::byte> bytes, size_t& count);
  size_t numbers_of_command() const;
  bool have_numbers() const { return header_ == 8 * numbers_of_command(); }
  void take_command(std::span<const std::byte>& bytes);
  void begin();
  void discard_bytes(uint64_t count);
  void take(std::span<const std::byte> bytes);
  void say_handshakes();

  House& house_;
  Fd socket_;
  std::unique_ptr<Stream> tls_;
  bool shaken_;
  char command_ = 0;
  unsigned header_ = 0;
  std::array<uint64_t, 2> numbers_{};
  uint64_t write_size_ = 256 << 10;
  uint64_t received_ = 0;
  uint64_t to_send_ = 0;
};

}  // namespace sallyport::bench
