#pragma once
// Shared by the tests of this folder: a ring, pairs of connected sockets, receives.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "iouring/listener.h"
#include "iouring/next_iteration.h"
#include "iouring/ring.h"
#include "iouring/socket.h"

namespace sallyport::iouring {

inline std::unique_ptr<Ring> make_ring(const RingOptions& options = {}) {
  std::expected<std::unique_ptr<Ring>, SetupError> ring = Ring::create(options);
  if (!ring) {
    ADD_FAILURE() << ring.error().what;
    std::abort();
  }
  return std::move(*ring);
}

/// Before Linux 6.8 there are no tables: a descriptor could not be installed from one.
inline bool has_tables() {
  return make_ring()->has(Opcode::kFixedFdInstall);
}
constexpr const char* kNoTables = "this kernel lacks IORING_OP_FIXED_FD_INSTALL (Linux 6.8)";

struct SocketPair {
  Socket left;
  Socket right;
};

/// Connected unix stream sockets.
inline SocketPair unix_pair(Ring& ring) {
  int fds[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) std::abort();
  return {Socket(ring, FileDescriptor(fds[0])), Socket(ring, FileDescriptor(fds[1]))};
}

/// Connected TCP sockets on loopback.
inline SocketPair tcp_pair(Ring& ring) {
  const FileDescriptor listening(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* const plain = reinterpret_cast<sockaddr*>(&address);
  FileDescriptor client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::bind(listening.get(), plain, size) != 0 || ::listen(listening.get(), 1) != 0 ||
      ::getsockname(listening.get(), plain, &size) != 0 ||
      ::connect(client.get(), plain, size) != 0)
    std::abort();
  FileDescriptor server(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!server) std::abort();
  return {Socket(ring, std::move(client)), Socket(ring, std::move(server))};
}

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

inline std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Sends `text` and then a FIN.
inline Task<void> send_then_end(Socket& socket, std::string_view text) {
  const Result<> sent = co_await socket.send_all(as_bytes(text));
  EXPECT_TRUE(sent);
  const Result<> shut = co_await socket.shutdown_write();
  EXPECT_TRUE(shut);
}

/// Sends `pieces` and then a FIN.
inline Task<void> send_pieces_then_end(Socket& socket, std::span<iovec> pieces) {
  const Result<> sent = co_await socket.send_all(pieces);
  EXPECT_TRUE(sent);
  const Result<> shut = co_await socket.shutdown_write();
  EXPECT_TRUE(shut);
}

/// The errno of a receive; 0 when it succeeds.
inline Task<int> recv_error(Socket& socket) {
  std::array<std::byte, 64> room{};
  const Result<std::size_t> received = co_await socket.recv(room);
  co_return received ? 0 : received.error().value;
}

/// Receives exactly `size` bytes; fewer at an error or end of file.
inline Task<std::string> recv_exactly(Socket& socket, std::size_t size) {
  std::string text(size, '\0');
  std::size_t filled = 0;
  while (filled < size) {
    const Result<std::size_t> received =
        co_await socket.recv(std::as_writable_bytes(std::span(text)).subspan(filled));
    if (!received || *received == 0) break;
    filled += *received;
  }
  text.resize(filled);
  co_return text;
}

/// Receives until the end of file or an error.
inline Task<std::string> recv_all(Socket& socket) {
  std::string text;
  std::string chunk(16384, '\0');
  for (;;) {
    const Result<std::size_t> received =
        co_await socket.recv(std::as_writable_bytes(std::span(chunk)));
    if (!received || *received == 0) break;
    text.append(chunk, 0, *received);
  }
  co_return text;
}

}  // namespace sallyport::iouring
