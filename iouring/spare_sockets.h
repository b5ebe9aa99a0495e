#pragma once
// Sockets that are connected again and again.
#include <chrono>
#include <cstddef>
#include <vector>

#include "iouring/address.h"
#include "iouring/connect.h"
#include "iouring/result.h"
#include "iouring/ring.h"
#include "iouring/socket.h"
#include "iouring/task.h"

namespace sallyport::iouring {

/// For many short connections: making a socket and closing it is a third of what such a connection
/// costs. Those that are kept have no connection and no address. One that was not needed for a
/// second is closed when the next is handed back. The thread of the ring.
class SpareSockets {
 public:
  static constexpr std::chrono::seconds kKept{1};

  /// Keeps at most so many. The ring outlives it.
  SpareSockets(Ring& ring, std::size_t most, std::chrono::milliseconds kept = kKept)
      : ring_(ring), most_(most), kept_(kept) {
    spare_.reserve(most);
  }

  [[nodiscard]] Ring& ring() const noexcept { return ring_; }
  [[nodiscard]] std::size_t size() const noexcept { return spare_.size(); }

  /// As iouring::connect(), with a socket that is kept if one is of this family.
  [[nodiscard]] Task<Result<Socket>> connect(SocketAddress address,
                                             FirstBytes first = FirstBytes::kLater);
  /// Ends the connection as Socket::reset() does, and keeps the socket if it is TCP's, and as new.
  /// `family` is that of its address, `first` what it was connected with. No other option was set
  /// that outlives a connection.
  void reset(Socket socket, int family, FirstBytes first = FirstBytes::kLater) noexcept;

 private:
  struct Spare {
    int family = 0;
    FirstBytes first = FirstBytes::kLater;
    TimePoint since;
    Socket socket;
  };

  void close_unneeded() noexcept;

  Ring& ring_;
  std::size_t most_;
  std::chrono::milliseconds kept_;
  std::vector<Spare> spare_;  // the longest unused first
};

}  // namespace sallyport::iouring
