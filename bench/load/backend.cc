// sallyport-backend: the service behind the gateway under test, in plaintext and, with a
// certificate, in mutual TLS as well. The first byte of a connection says what it does:
//   E  echo everything, this byte included
//   S  send so many bytes, in writes of so many
//   K  take so many bytes, then answer with one K
//   R  answer each block of so many bytes with one of the same size
//   H  say in a line of JSON how many handshakes there were so far: full, resumed
// A number is 8 bytes, least significant first.
//
// Says where it listens in a line of JSON: `port` is the plaintext one, connections of `tls_port`
// resume, those of `tls_full_port` make a full handshake each; those of `tls_nagle_port` resume,
// and are left with Nagle's algorithm.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "bench/load/loop.h"
#include "bench/load/openssl_server.h"
#include "bench/load/served.h"

namespace sallyport::bench {
namespace {

constexpr const char* kUsage =
    "usage: sallyport-backend [--port N] [--cert FILE --key FILE [--tls-port N] "
    "[--tls-full-port N]]\n"
    "                         [--any-address] [--realtime]\n";

[[noreturn]] void usage() {
  std::fputs(kUsage, stderr);
  std::exit(2);
}

struct Arguments {
  in_addr_t on = INADDR_LOOPBACK;
  uint16_t port = 0, tls_port = 0, tls_full_port = 0;
  std::string certificate, key;  // empty: plaintext only
  bool realtime = false;
};

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    if (flag == "--realtime") {
      arguments.realtime = true;
      continue;
    }
    if (flag == "--any-address") {
      arguments.on = INADDR_ANY;
      continue;
    }
    if (++i == argc) usage();
    const auto port = [&] { return static_cast<uint16_t>(std::atoi(argv[i])); };
    if (flag == "--port")
      arguments.port = port();
    else if (flag == "--tls-port")
      arguments.tls_port = port();
    else if (flag == "--tls-full-port")
      arguments.tls_full_port = port();
    else if (flag == "--cert")
      arguments.certificate = argv[i];
    else if (flag == "--key")
      arguments.key = argv[i];
    else
      usage();
  }
  if (arguments.certificate.empty() != arguments.key.empty()) usage();
  return arguments;
}

enum class Nagle : bool { kOff, kOn };

class Acceptor final : public Watched {
 public:
  /// `tls`: null: plaintext.
  Acceptor(Loop& loop, in_addr_t on, uint16_t port, OpensslServer* tls, House& house,
           Nagle nagle = Nagle::kOff)
      : loop_(loop),
        tls_(tls),
        nagle_(nagle),
        house_(house),
        socket_(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    const int one = 1;
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(on);
    if (::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(socket_.get(), 4096) != 0) {
      die("listen");
    }
    loop_.watch(socket_.get(), *this);
  }

  uint16_t port() const {
    sockaddr_in address{};
    socklen_t length = sizeof address;
    ::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &length);
    return ntohs(address.sin_port);
  }

  void ready(uint32_t) override {
    for (;;) {
      Fd accepted(::accept4(socket_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!accepted) {
        if (errno == EAGAIN || errno == ECONNABORTED) return;
        die("accept4");
      }
      const int no_delay = nagle_ == Nagle::kOff ? 1 : 0;
      const int descriptor = accepted.get();
      ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &no_delay, sizeof no_delay);
      std::unique_ptr<Stream> stream = tls_ != nullptr ? tls_->stream(descriptor) : nullptr;
      loop_.watch(descriptor, *new Served(std::move(accepted), std::move(stream), house_));
    }
  }

 private:
  Loop& loop_;
  OpensslServer* tls_;
  Nagle nagle_;
  House& house_;
  Fd socket_;
};

/// One that speaks TLS.
struct TlsAcceptor {
  TlsAcceptor(Loop& loop, const Arguments& given, uint16_t port, Sessions sessions, House& house,
              Nagle nagle = Nagle::kOff)
      : tls(given.certificate, given.key, sessions),
        acceptor(loop, given.on, port, &tls, house, nagle) {}

  OpensslServer tls;
  Acceptor acceptor;
};

void prepare_process(const Arguments& arguments) {
  std::signal(SIGPIPE, SIG_IGN);
  if (arguments.realtime) {
    const sched_param priority{.sched_priority = 1};
    if (::sched_setscheduler(0, SCHED_RR, &priority) != 0) std::perror("--realtime");
  }
  rlimit descriptors{};
  ::getrlimit(RLIMIT_NOFILE, &descriptors);
  descriptors.rlim_cur = descriptors.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &descriptors);
}

}  // namespace
}  // namespace sallyport::bench

int main(int argc, char** argv) {
  using namespace sallyport::bench;
  const Arguments arguments = parse(argc, argv);
  prepare_process(arguments);
  Loop loop;
  House house;
  Acceptor plain(loop, arguments.on, arguments.port, nullptr, house);
  std::string ports = "{\"port\": " + std::to_string(plain.port());
  std::optional<TlsAcceptor> resuming, full, nagle;
  if (!arguments.certificate.empty()) {
    resuming.emplace(loop, arguments, arguments.tls_port, Sessions::kResumed, house);
    full.emplace(loop, arguments, arguments.tls_full_port, Sessions::kNone, house);
    nagle.emplace(loop, arguments, 0, Sessions::kResumed, house, Nagle::kOn);
    ports += ", \"tls_port\": " + std::to_string(resuming->acceptor.port()) +
             ", \"tls_full_port\": " + std::to_string(full->acceptor.port()) +
             ", \"tls_nagle_port\": " + std::to_string(nagle->acceptor.port());
  }
  std::printf("%s}\n", ports.c_str());
  std::fflush(stdout);
  for (;;) loop.turn(Clock::now() + std::chrono::hours(1));
}
