// A listening socket of the admin server.
#pragma once

#include <sys/types.h>

#include <expected>
#include <optional>
#include <string>

#include "gateway/observe/socket_file.h"
#include "iouring/address.h"
#include "iouring/file_descriptor.h"

namespace sallyport::gateway {

/// A value of --admin: "127.0.0.1:9464", "[::1]:9464", "unix:/run/admin.sock,mode=0600".
struct AdminAddress {
  std::string text;                ///< as given
  iouring::SocketAddress address;  ///< port 0 is any free one
  mode_t mode = 0600;              ///< of a unix socket's file
};

/// Listens from bind() on; what connects waits until AdminServer::start(). Removes the file of its
/// unix socket at its end.
class AdminListener {
 public:
  /// IPv6 is IPv6 only. A unix socket has its mode before anything can connect; a file in its place
  /// is replaced if it is a socket of ours on which no process listens. The error names the address
  /// and the reason.
  ///
  /// With `shared` another process of this user, if it shares, too, may have the address: of a port
  /// the kernel spreads the clients over both; a unix socket gets them from take_place() on.
  [[nodiscard]] static std::expected<AdminListener, std::string> bind(const AdminAddress& at,
                                                                      bool shared = false);
  /// See SocketFile; nothing to do for a port. The error names the address and the reason.
  [[nodiscard]] std::expected<void, std::string> take_place();

  /// The address listened on: the one asked for, or the one got for port 0.
  [[nodiscard]] const iouring::SocketAddress& address() const { return address_; }
  /// Passes ownership of the descriptor, which is non-blocking, to the caller.
  [[nodiscard]] int release() noexcept { return descriptor_.release(); }

 private:
  AdminListener(iouring::FileDescriptor descriptor, const AdminAddress& at)
      : descriptor_(std::move(descriptor)), asked_(at.text), address_(at.address) {}

  iouring::FileDescriptor descriptor_;
  std::string asked_;
  iouring::SocketAddress address_;
  std::optional<SocketFile> file_;  // of a unix socket
};

}  // namespace sallyport::gateway
