#include "bench/load/served.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <string>

namespace sallyport::bench {

bool Served::goes_on(bool ends) {
  if (!shaken_ && !shake_hands()) return false;
  if (!shaken_) return true;
  return (tls_ ? receive_tls() : receive(ends)) && send();
}

bool Served::shake_hands() {
  const Io io = tls_->handshake();
  if (io != Io::kDone) return io == Io::kAgain;
  shaken_ = true;
  ++(tls_->resumed() ? house_.resumed : house_.full);
  return true;
}

bool Served::receive(bool ends) {
  for (;;) {
    // What is thrown away need not be copied out of the kernel.
    const bool discard = command_ == 'K' && have_numbers();
    const ssize_t count =
        ::recv(socket_.get(), house_.in.data(), house_.in.size(), discard ? MSG_TRUNC : 0);
    if (count == 0) return false;
    if (count < 0) return errno == EAGAIN;
    if (discard) {
      discard_bytes(static_cast<uint64_t>(count));
    } else {
      take(std::span(house_.in).first(static_cast<size_t>(count)));
    }
    if (!send()) return false;
    // Less than asked for: the queue is empty, and what comes next makes a new edge. A FIN that
    // was in this edge does not.
    if (!ends && static_cast<size_t>(count) < house_.in.size()) return true;
  }
}

bool Served::receive_tls() {
  for (;;) {
    std::span<const std::byte> bytes;
    const Io io = tls_->read(bytes);
    if (io == Io::kClosed) tls_->close_notify();
    if (io != Io::kDone) return io == Io::kAgain;
    take(bytes);
    if (!send()) return false;
  }
}

size_t Served::numbers_of_command() const {
  switch (command_) {
    case 'S':
      return 2;
    case 'K':
    case 'R':
      return 1;
    default:
      return 0;
  }
}

// Takes what belongs to the command off the front of `bytes`.
void Served::take_command(std::span<const std::byte>& bytes) {
  if (command_ == 0) {
    command_ = static_cast<char>(bytes[0]);
    if (command_ == 'H') return say_handshakes();
    if (numbers_of_command() == 0) {
      // The echo of bytes whose content is not checked, except that one E comes back as an E.
      command_ = 'E';
      return;
    }
    bytes = bytes.subspan(1);
  }
  while (!bytes.empty() && !have_numbers()) {
    numbers_[header_ / 8] |= static_cast<uint64_t>(bytes[0]) << (header_ % 8 * 8);
    ++header_;
    bytes = bytes.subspan(1);
    if (have_numbers()) begin();
  }
}

void Served::begin() {
  if (command_ == 'S') {
    to_send_ = numbers_[0];
    write_size_ = std::max<uint64_t>(1, std::min<uint64_t>(numbers_[1], house_.out.size()));
  }
  if (command_ == 'R') numbers_[0] = std::max<uint64_t>(1, numbers_[0]);
}

// A line fits into any socket that has sent nothing yet.
void Served::say_handshakes() {
  const std::string line = "{\"full\": " + std::to_string(house_.full) +
                           ", \"resumed\": " + std::to_string(house_.resumed) + "}\n";
  size_t count = 0;
  send_some(std::as_bytes(std::span(line)), count);
}

void Served::discard_bytes(uint64_t count) {
  numbers_[0] -= std::min(numbers_[0], count);
  to_send_ = numbers_[0] == 0 ? 1 : 0;
}

void Served::take(std::span<const std::byte> bytes) {
  take_command(bytes);
  if (bytes.empty() || !have_numbers()) return;
  if (command_ == 'K') {
    discard_bytes(bytes.size());
  } else if (command_ == 'R') {
    received_ += bytes.size();
    to_send_ += received_ / numbers_[0] * numbers_[0];
    received_ %= numbers_[0];
  } else if (command_ == 'E') {
    to_send_ += bytes.size();
  }
}

bool Served::send() {
  std::array<std::byte, 64> letters;
  while (to_send_ > 0) {
    const bool letter = command_ == 'E' || command_ == 'K';
    if (letter) letters.fill(static_cast<std::byte>(command_));
    const std::span<const std::byte> from =
        letter ? std::span<const std::byte>(letters) : std::span<const std::byte>(house_.out);
    const uint64_t most = std::min<uint64_t>(from.size(), write_size_);
    size_t count = 0;
    const Io io = send_some(from.first(std::min(most, to_send_)), count);
    if (io != Io::kDone) return io == Io::kAgain;
    to_send_ -= count;
  }
  return true;
}

Io Served::send_some(std::span<const std::byte> bytes, size_t& count) {
  if (tls_) return tls_->write(bytes, count);
  const ssize_t sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (sent < 0) return errno == EAGAIN ? Io::kAgain : Io::kFailed;
  count = static_cast<size_t>(sent);
  return Io::kDone;
}

}  // namespace sallyport::bench
