#include "bench/load/plain_client.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace sallyport::bench {
namespace {

using Buffer = std::array<std::byte, 256 << 10>;

class PlainStream final : public Stream {
 public:
  PlainStream(int descriptor, Buffer& buffer) : descriptor_(descriptor), buffer_(buffer) {}

  Io handshake() override { return Io::kDone; }

  Io read(std::span<const std::byte>& plaintext) override {
    const ssize_t count = ::recv(descriptor_, buffer_.data(), buffer_.size(), 0);
    if (count < 0) return failed();
    plaintext = std::span(buffer_).first(static_cast<size_t>(count));
    return count == 0 ? Io::kClosed : Io::kDone;
  }

  Io write(std::span<const std::byte> plaintext, size_t& count) override {
    const ssize_t sent = ::send(descriptor_, plaintext.data(), plaintext.size(), MSG_NOSIGNAL);
    if (sent < 0) return failed();
    count = static_cast<size_t>(sent);
    return Io::kDone;
  }

  void close_notify() override {}
  bool resumed() const override { return false; }
  std::string error() const override { return error_; }

 private:
  Io failed() {
    if (errno == EAGAIN) return Io::kAgain;
    error_ = std::strerror(errno);
    return Io::kFailed;
  }

  int descriptor_;
  Buffer& buffer_;
  std::string error_;
};

class PlainClient final : public Client {
 public:
  std::unique_ptr<Stream> stream(int descriptor, TicketSlot*) override {
    return std::make_unique<PlainStream>(descriptor, buffer_);
  }

 private:
  Buffer buffer_;
};

}  // namespace

std::unique_ptr<Client> plain_client() {
  return std::make_unique<PlainClient>();
}

}  // namespace sallyport::bench
