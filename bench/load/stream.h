// The client side of one TLS connection as the load modes see it. OpenSSL's client stands behind it
// (openssl_client), and a lean one of our own that costs the generator less (lean_client);
// plain_client has no TLS, to measure what a relay costs without.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace sallyport::bench {

enum class Io {
  kDone,
  kAgain,   // the kernel said EAGAIN; call again at the next edge
  kClosed,  // close_notify, or a bare FIN
  kFailed,  // error() says why
};

/// What a client keeps to resume; each kind of client has its own.
class Ticket {
 public:
  virtual ~Ticket() = default;
};

/// Holds the newest ticket of one simulated client. Empty: a full handshake.
using TicketSlot = std::shared_ptr<const Ticket>;

class Stream {
 public:
  virtual ~Stream() = default;

  virtual Io handshake() = 0;

  /// On kDone `plaintext` (never empty) is valid until the next call on any stream of this client.
  virtual Io read(std::span<const std::byte>& plaintext) = 0;

  /// On kDone `count` bytes were taken, at least one. After kAgain repeat with the same bytes.
  virtual Io write(std::span<const std::byte> plaintext, size_t& count) = 0;

  /// Sends what an earlier write() took and the socket did not. Called when the socket is writable.
  virtual void flush() {}

  /// Sends close_notify; the caller ends the write side of the socket.
  virtual void close_notify() = 0;

  virtual bool resumed() const = 0;
  virtual std::string error() const = 0;
};

class Client {
 public:
  virtual ~Client() = default;

  /// A stream over a connected, non-blocking socket that outlives it. With `tickets` it resumes
  /// with what is there, and stores what the server issues; `tickets` must outlive the stream.
  virtual std::unique_ptr<Stream> stream(int descriptor, TicketSlot* tickets) = 0;
};

}  // namespace sallyport::bench
