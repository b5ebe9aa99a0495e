// One simulated client: connects, makes its handshake, and tells its mode what happens.
#pragma once

#include <netinet/in.h>

#include <map>
#include <memory>
#include <span>
#include <string>

#include "bench/load/loop.h"
#include "bench/load/stream.h"

namespace sallyport::bench {

struct Target {
  sockaddr_in address{};
  unsigned sources = 1;  // connections take 127.0.0.1 .. 127.0.0.N in turn
  unsigned next_source = 0;
  bool nagle = false;  // TCP_NODELAY is left off
};

/// Dies when the text is not IPv4:PORT.
Target parse_target(const std::string& text);

/// What happened to all connections of a run. Errors are never reset: a run with one is void.
struct Tally {
  uint64_t opened = 0;
  uint64_t resumed = 0;
  uint64_t errors = 0;
  std::map<std::string, uint64_t> error_texts;
  void error(const std::string& text) {
    ++errors;
    ++error_texts[text];
  }
};

struct Context {
  Loop& loop;
  Target& target;
  Client& client;
  Tally& tally;
};

/// The virtual functions are called from ready() only, and may call open() again from ended().
class Connection : public Watched {
 public:
  explicit Connection(Context& context) : context_(context) {}

  /// Begins to connect. `tickets` must outlive the connection.
  void open(TicketSlot* tickets = nullptr);

  /// Sends close_notify and FIN; ended() follows when the peer has ended its side too.
  void finish();

  /// Closes at once, without close_notify.
  void drop();

  bool is_open() const { return phase_ == Phase::kOpen; }
  bool is_closed() const { return phase_ == Phase::kClosed; }

  void ready(uint32_t events) final;

 protected:
  virtual void opened() = 0;
  virtual void received(std::span<const std::byte> plaintext) = 0;
  virtual void writable() {}
  /// `finished`: after finish(). An end before that is an error and already counted as one.
  virtual void ended(bool finished) = 0;

  /// Takes as much as the socket does; returns how much. Failures end the connection at the next
  /// edge, which a broken socket always raises.
  size_t write(std::span<const std::byte> plaintext);

  void fail(const std::string& why);
  Context& context() { return context_; }
  const Stream& stream() const { return *stream_; }

 private:
  enum class Phase { kClosed, kConnecting, kHandshaking, kOpen, kFinishing };

  void read();

  Context& context_;
  Fd socket_;
  std::unique_ptr<Stream> stream_;
  Phase phase_ = Phase::kClosed;
};

}  // namespace sallyport::bench
