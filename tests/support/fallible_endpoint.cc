#include "tests/support/fallible_endpoint.h"

#include <linux/capability.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <string_view>
#include <thread>
#include <utility>

#include "tests/support/network_namespace.h"

namespace sallyport::test {

bool is_found_by_connects(Fault fault) {
  return fault < Fault::kResets;
}

namespace {

bool is_unix(Fault fault) {
  return fault == Fault::kSocketMissing || fault == Fault::kSocketStale ||
         fault == Fault::kSocketForbidden || fault == Fault::kSocketQueueFull;
}

// An address of the loopback that no other test listens on: while one of its ports is closed,
// nobody else takes it. For kUnreachable one that a namespace's loopback can lose.
std::string next_host(Fault fault) {
  static std::atomic<unsigned> count = 0;
  const std::string number = std::to_string(1 + count++ % 250);
  const std::string process = std::to_string(::getpid() % 250);
  return fault == Fault::kUnreachable ? "10.77.0." + number : "127.77." + process + "." + number;
}

// Waits for what a client says first; answers if that is the request of a check.
bool answers_check(const Fd& socket) {
  char head[4] = {};
  const ssize_t size = ::recv(socket.get(), head, sizeof head, MSG_PEEK);
  if (size <= 0) return true;
  if (std::string_view(head, static_cast<std::size_t>(size)) != "GET ") return false;
  std::string request;
  while (!request.ends_with("\r\n\r\n") &&
         receive(socket, request, request.size() + 1) == StreamEnd::kOpen) {
    continue;
  }
  send_all(socket, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  return true;
}

// Echoes no more than `most`, in pieces of at most `piece`, each after a pause.
void echo_some(const Fd& socket, std::size_t most, std::size_t piece = 65'536,
               std::chrono::milliseconds pause = {}) {
  std::string buffer(piece, '\0');
  for (std::size_t left = most; left > 0;) {
    const ssize_t size = ::recv(socket.get(), buffer.data(), std::min(piece, left), 0);
    if (size <= 0) return;
    // How slow the backend is; nothing is synchronised by it.
    if (pause.count() > 0) std::this_thread::sleep_for(pause);
    send_all(socket, std::string_view(buffer).substr(0, static_cast<std::size_t>(size)));
    left -= static_cast<std::size_t>(size);
  }
}

constexpr std::size_t kAll = static_cast<std::size_t>(-1);

void set(const Fd& socket, int level, int option, int value) {
  ::setsockopt(socket.get(), level, option, &value, sizeof value);
}

void fail_after(Fault fault, std::size_t bytes, Fd& socket) {
  if (fault == Fault::kResetsLater || fault == Fault::kEndsLater) echo_some(socket, bytes);
  if (fault == Fault::kResetsLater) socket.reset();
  if (fault == Fault::kEndsLater) {
    ::shutdown(socket.get(), SHUT_WR);
    std::string ignored;
    receive_all(socket, ignored);
  }
  if (fault == Fault::kTrickles) {
    set(socket, IPPROTO_TCP, TCP_NODELAY, 1);
    echo_some(socket, kAll, 1);
  }
  if (fault == Fault::kLags) {
    set(socket, SOL_SOCKET, SO_RCVBUF, 4'096);
    echo_some(socket, kAll, 2'048, std::chrono::milliseconds(1));
  }
  ::shutdown(socket.get(), SHUT_WR);
}

}  // namespace

Backend::Serve named_echo(char name) {
  return [name](Fd& socket) {
    if (answers_check(socket)) return;
    send_all(socket, std::string(1, name));
    echo_some(socket, kAll);
    ::shutdown(socket.get(), SHUT_WR);
  };
}

void obey_modes() {
  // Whoever is not root has no such right to drop.
  ::prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE);
}

FallibleEndpoint::FallibleEndpoint(Given given) : given_(std::move(given)) {
  const std::string host = next_host(given_.fault);
  if (given_.fault == Fault::kUnreachable) NetworkNamespace::ip("addr add " + host + "/32 dev lo");
  address_ = is_unix(given_.fault) ? "unix:" + given_.unix_socket : host + ":0";
  listen_again();
  address_ = backends_.back()->address();
}

FallibleEndpoint::~FallibleEndpoint() {
  // Handlers look at broken_, and the silent one has the address.
  silent_.reset();
  backends_.clear();
}

std::string FallibleEndpoint::host() const {
  return address_.substr(0, address_.rfind(':'));
}

void FallibleEndpoint::stop_listening() {
  // First, so that nobody finds it while what waits is accepted.
  if (is_unix(given_.fault)) ::unlink(given_.unix_socket.c_str());
  backends_.back()->stop_listening();
}

void FallibleEndpoint::listen_again() {
  if (is_unix(given_.fault)) ::unlink(given_.unix_socket.c_str());
  std::erase_if(backends_, [](const auto& each) { return each->open() == 0; });
  backends_.push_back(std::make_unique<Backend>(
      [this, whole = named_echo(given_.name)](Fd& socket) {
        if (!broken_ || is_found_by_connects(given_.fault)) return whole(socket);
        if (given_.fault == Fault::kResets) return socket.reset();
        if (given_.fault == Fault::kStalls) return stall()(socket);
        if (answers_check(socket)) return;
        send_all(socket, std::string(1, given_.name));
        fail_after(given_.fault, given_.bytes, socket);
      },
      address_));
}

void FallibleEndpoint::break_down() {
  if (broken_.exchange(true)) return;
  switch (given_.fault) {
    case Fault::kRefuses:
    case Fault::kSocketMissing:
      return stop_listening();
    case Fault::kDies:
      return backends_.clear();
    case Fault::kSocketStale: {
      stop_listening();
      const Fd stale = listen_on(address_, -1);
      return;
    }
    case Fault::kQueueFull:
    case Fault::kSocketQueueFull:
      stop_listening();
      silent_ = std::make_unique<SilentAddress>(address_);
      return;
    case Fault::kSwallows:
      return backends_.back()->swallow(true);
    case Fault::kUnreachable:
      return NetworkNamespace::ip("addr del " + host() + "/32 dev lo");
    case Fault::kSocketForbidden:
      ::chmod(given_.unix_socket.c_str(), 0);
      return;
    case Fault::kResets:
    case Fault::kResetsLater:
    case Fault::kEndsLater:
    case Fault::kStalls:
    case Fault::kTrickles:
    case Fault::kLags:
      return;
  }
}

void FallibleEndpoint::mend() {
  if (!broken_.exchange(false)) return;
  silent_.reset();
  switch (given_.fault) {
    case Fault::kRefuses:
    case Fault::kDies:
    case Fault::kSocketMissing:
    case Fault::kSocketStale:
    case Fault::kQueueFull:
    case Fault::kSocketQueueFull:
      return listen_again();
    case Fault::kSwallows:
      return backends_.back()->swallow(false);
    case Fault::kUnreachable:
      return NetworkNamespace::ip("addr add " + host() + "/32 dev lo");
    case Fault::kSocketForbidden:
      ::chmod(given_.unix_socket.c_str(), 0777);
      return;
    case Fault::kResets:
    case Fault::kResetsLater:
    case Fault::kEndsLater:
    case Fault::kStalls:
    case Fault::kTrickles:
    case Fault::kLags:
      return;
  }
}

}  // namespace sallyport::test
