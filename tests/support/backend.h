#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/net.h"

namespace sallyport::test {

/// A backend: accepts on one address and gives each connection to `serve` on a thread of its own.
/// Dies by closing every connection. Handlers must end when their socket is shut down.
class Backend {
 public:
  using Serve = std::function<void(Fd& socket)>;

  explicit Backend(Serve serve, const std::string& address = "127.0.0.1:0");
  ~Backend();
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  /// As a discovery file names it.
  const std::string& address() const { return address_; }
  std::string port() const { return address_.substr(address_.rfind(':') + 1); }
  int accepted() const;
  int open() const;

  /// Refuses from now on. What was connected before is served on, nothing is reset.
  void stop_listening();
  /// From now on SYNs get no answer, as behind a firewall that drops them; or they do again.
  void swallow(bool swallows);

 private:
  struct State;
  std::string address_;
  std::shared_ptr<State> state_;
};

/// Sends back what it receives; at end of file half-closes in turn.
Backend::Serve echo();
/// Says its name at once, then echoes.
Backend::Serve named(std::string name);
/// Counts what it receives until end of file, then answers the SHA-256 in hexadecimal and closes.
Backend::Serve digest();
/// Sends `bytes` of pseudo-random data made from `seed`, then half-closes and reads to the end.
Backend::Serve source(std::size_t bytes, unsigned seed);
/// Answers each HTTP/1.1 request with 200 and `body`, keeping the connection.
Backend::Serve http_server(std::string body);
/// Accepts and then neither reads nor writes until the other side resets or this one dies.
Backend::Serve stall();
/// Echoes `bytes`, then resets the connection.
Backend::Serve reset_after(std::size_t bytes);

/// What one connection's backend heard, to be asked from the test's thread.
class Transcript {
 public:
  /// Appends; for handlers.
  void add(std::string_view data);
  void finish(StreamEnd end);
  /// Waits for the end of the stream; throws when patience ends.
  StreamEnd wait_end();
  /// Waits until so many bytes were heard.
  void wait_size(std::size_t bytes);
  std::string data() const;

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::string data_;
  StreamEnd end_ = StreamEnd::kOpen;
};
/// Writes down what it receives and answers nothing; at the end half-closes in turn. The
/// transcript must outlive the backend.
Backend::Serve listener(Transcript& transcript);

/// The data that source() sends.
std::string pseudo_random(std::size_t bytes, unsigned seed);
std::string sha256_hex(std::string_view data);

/// An address whose connects are refused for as long as this object lives.
class RefusingAddress {
 public:
  RefusingAddress() : socket_(listen_on("127.0.0.1:0", -1)) {}
  std::string address() const { return local_address(socket_).to_string(); }

 private:
  Fd socket_;
};

/// An address, TCP or unix, whose connects are never answered: a listener whose accept queue is
/// full.
class SilentAddress {
 public:
  explicit SilentAddress(const std::string& address = "127.0.0.1:0");
  std::string address() const { return local_address(listener_).to_string(); }

 private:
  Fd listener_;
  std::vector<Fd> fillers_;
};

}  // namespace sallyport::test
