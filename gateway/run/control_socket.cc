#include "gateway/run/control_socket.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/observe/log.h"
#include "gateway/run/exit_code.h"
#include "iouring/address.h"
#include "iouring/file_descriptor.h"

namespace sallyport::gateway {
namespace {

// Of an answer, which is one message.
constexpr std::size_t kLongestAnswer = 32'768;

// An answer begins with one of these.
constexpr char kInForce = '+';
constexpr char kRefused = '-';
constexpr char kNotAllowed = '!';

// In the abstract namespace: unix(7). A name that somebody else took gains him nothing: who asks
// looks who listens, by the kernel's word.
iouring::SocketAddress name_of(pid_t gateway) {
  return *iouring::SocketAddress::parse("unix:@sallyport/reload/" + std::to_string(gateway));
}

iouring::FileDescriptor new_socket() {
  return iouring::FileDescriptor(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
}

std::optional<ucred> peer_of(int connection) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return std::nullopt;
  return peer;
}

bool may_ask(int connection) {
  const auto peer = peer_of(connection);
  return peer && (peer->uid == 0 || peer->uid == ::geteuid());
}

std::string reload(Reloader& reloader) {
  reloader.reload_on_demand("--reload");
  const std::vector<std::string> refused = reloader.refused();
  std::string text(1, refused.empty() ? kInForce : kRefused);
  if (refused.empty()) text += "credentials, policy and discovery are in force\n";
  for (const std::string& each : refused) text += "refused, last good state stays: " + each + '\n';
  if (text.size() > kLongestAnswer) text.replace(kLongestAnswer - 4, std::string::npos, "...\n");
  return text;
}

// The message fits into the socket: who does not take it is not waited for.
iouring::Task<void> answer(iouring::Socket connection, Reloader& reloader) {
  const std::string text =
      may_ask(connection.descriptor())
          ? reload(reloader)
          : std::string(1, kNotAllowed) + "only root and the gateway's user may ask\n";
  iouring::Result<> sent = co_await connection.send_all(std::as_bytes(std::span(text)));
  if (!sent) log_info("nobody waits for the outcome of --reload", {{"error", sent.error().name()}});
}

int failed(pid_t gateway, const char* why) {
  std::fprintf(stderr, "sallyport: --reload %ld: %s\n", static_cast<long>(gateway), why);
  return kExitFailed;
}

}  // namespace

std::expected<ControlSocket, std::string> ControlSocket::listen(iouring::Ring& ring) {
  iouring::FileDescriptor socket = new_socket();
  const iouring::SocketAddress name = name_of(::getpid());
  if (!socket || ::bind(socket.get(), name.data(), name.size()) != 0)
    return std::unexpected(std::strerror(errno));
  auto listener = iouring::Listener::adopt(ring, std::move(socket));
  if (!listener) return std::unexpected(std::string(listener.error().name()));
  const iouring::Result<> listens = (*listener)->listen();
  if (!listens) return std::unexpected(std::string(listens.error().name()));
  return ControlSocket(*std::move(listener));
}

iouring::Task<void> ControlSocket::serve(ControlLoop& loop, Reloader& reloader) {
  for (;;) {
    iouring::Result<iouring::Socket> accepted = co_await listener_->accept();
    if (accepted) {
      loop.tasks->spawn(answer(*std::move(accepted), reloader));
      continue;
    }
    if (accepted.error().value != ECANCELED)
      log_error("--reload gets no answer any more", {{"error", accepted.error().name()}});
    break;
  }
  co_await listener_->stop();
}

int request_reload(pid_t gateway) {
  const iouring::FileDescriptor socket = new_socket();
  const iouring::SocketAddress name = name_of(gateway);
  if (!socket || ::connect(socket.get(), name.data(), name.size()) != 0) {
    const bool nobody = errno == ECONNREFUSED;
    return failed(gateway, nobody ? "no gateway of this number runs here" : std::strerror(errno));
  }
  const auto peer = peer_of(socket.get());
  if (!peer || peer->pid != gateway) return failed(gateway, "another process has its name");
  std::array<char, kLongestAnswer> room{};
  ssize_t received = -1;
  do {
    received = ::recv(socket.get(), room.data(), room.size(), 0);
  } while (received < 0 && errno == EINTR);
  if (received <= 0) return failed(gateway, "the gateway ended before it answered");
  const std::string_view said(room.data() + 1, static_cast<std::size_t>(received) - 1);
  const bool in_force = room.front() == kInForce;
  std::fwrite(said.data(), 1, said.size(), in_force ? stdout : stderr);
  if (in_force) return kExitDrained;
  return room.front() == kRefused ? kExitConfiguration : kExitFailed;
}

}  // namespace sallyport::gateway
