#pragma once

#include <sys/socket.h>

#include <atomic>
#include <cstddef>
#include <string>
#include <string_view>

namespace sallyport::test {

/// Owns a descriptor of the test's own; closing is its only wisdom. One thread may close it while
/// another looks at it: a backend's handler and the end of the test.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.fd_.exchange(-1)) {}
  Fd& operator=(Fd&& other) noexcept {
    close();
    fd_ = other.fd_.exchange(-1);
    return *this;
  }
  ~Fd() { close(); }
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  void close();
  /// Closes with SO_LINGER 0: the peer sees a reset.
  void reset();

 private:
  std::atomic<int> fd_ = -1;
};

/// A socket address in the texts that the gateway uses: `1.2.3.4:5`, `[::1]:5`, `unix:/path`.
struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
  static Address parse(std::string_view text);
  std::string to_string() const;
  int family() const { return storage.ss_family; }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

/// How a stream ended, seen from the reader.
enum class StreamEnd { kOpen, kFin, kReset };

/// Connects, optionally from a given source address; throws TestFailure.
Fd connect_to(const std::string& address, const std::string& source = "");
/// Binds and listens; port 0 picks a free one. `backlog` < 0: bind only, so that connects to the
/// reserved port are refused.
Fd listen_on(const std::string& address, int backlog = 1024);
Address local_address(const Fd& socket);
Address peer_address(const Fd& socket);

/// Sends everything, throws TestFailure on an error or when patience ends.
void send_all(const Fd& socket, std::string_view data);
/// Appends what comes until `enough` bytes are there or the stream ends; throws when patience ends.
StreamEnd receive(const Fd& socket, std::string& into, std::size_t enough);
/// Receives until the stream ends.
inline StreamEnd receive_all(const Fd& socket, std::string& into) {
  return receive(socket, into, static_cast<std::size_t>(-1));
}
/// Waits until the socket is readable (POLLIN) or writable (POLLOUT); false when patience ended.
bool wait_ready(int fd, short events);

struct HttpResponse {
  int status = 0;
  std::string head;
  std::string body;
};
/// One plain HTTP/1.1 request on a connection of its own.
HttpResponse http(const std::string& address, const std::string& path,
                  const std::string& method = "GET");

}  // namespace sallyport::test
