#include "iouring/connect.h"

#include <liburing.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "iouring/file_descriptor.h"
#include "iouring/socket_operation.h"

namespace sallyport::iouring {

namespace {

class [[nodiscard]] Connect final : public SocketOperation {
 public:
  Connect(Socket& socket, const SocketAddress& address) noexcept
      : SocketOperation(socket), address_(&address) {}
  Result<> await_resume() const noexcept { return done_or_error(); }

 private:
  void prepare(io_uring_sqe& sqe) noexcept override {
    io_uring_prep_connect(&sqe, -1, address_->data(), address_->size());
    target(sqe);
  }
  const SocketAddress* address_;
};

}  // namespace

Task<Result<Socket>> connect(Ring& ring, SocketAddress address) {
  FileDescriptor descriptor(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!descriptor) co_return failure(errno);
  Socket socket(ring, std::move(descriptor));
  const Result<> connected = co_await Connect(socket, address);
  if (!connected) co_return failure(connected.error().value);
  co_return std::move(socket);
}

}  // namespace sallyport::iouring
