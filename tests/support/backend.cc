#include "tests/support/backend.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <openssl/evp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <iterator>
#include <list>
#include <mutex>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/wait.h"

namespace sallyport::test {

struct Backend::State {
  struct Connection {
    Fd socket;
    std::thread thread;
    bool finished = false;
  };

  Fd listener;
  Fd stop;  // eventfd
  Serve serve;
  std::thread acceptor;
  std::atomic<int> accepted = 0;
  std::atomic<int> open = 0;
  std::mutex mutex;
  std::list<Connection> connections;

  void accept_loop() {
    for (;;) {
      pollfd wanted[2] = {{listener.get(), POLLIN, 0}, {stop.get(), POLLIN, 0}};
      ::poll(wanted, 2, -1);
      if (wanted[1].revents != 0) return;
      accept_one();
    }
  }

  void accept_one() {
    const int fd = ::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) return;
    ++accepted;
    ++open;
    const std::scoped_lock lock(mutex);
    connections.remove_if([](Connection& each) {
      if (each.finished) each.thread.join();
      return each.finished;
    });
    Connection& connection = connections.emplace_back();
    connection.socket = Fd(fd);
    connection.thread = std::thread([this, &connection] { run(connection); });
  }

  void stop_accepting() {
    if (!acceptor.joinable()) return;
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(stop.get(), &one, sizeof one);
    acceptor.join();
  }

  // By a filter that no SYN passes: it sees a packet from its TCP header on.
  void swallow(bool swallows) const {
    constexpr std::uint32_t kFlags = 13, kSyn = 2, kWhole = 0xffffffff;
    sock_filter code[] = {BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kFlags),
                          BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, kSyn, 0, 1),
                          BPF_STMT(BPF_RET | BPF_K, 0), BPF_STMT(BPF_RET | BPF_K, kWhole)};
    const sock_fprog program{std::size(code), code};
    const int option = swallows ? SO_ATTACH_FILTER : SO_DETACH_FILTER;
    if (::setsockopt(listener.get(), SOL_SOCKET, option, &program, sizeof program) != 0)
      throw TestFailure("a listener takes no filter");
  }

  void run(Connection& connection) {
    try {
      serve(connection.socket);
    } catch (const TestFailure& failure) {
      // The peer vanished or nothing came: the test sees that from its own side.
      static_cast<void>(failure);
    }
    const std::scoped_lock lock(mutex);
    connection.socket.close();
    connection.finished = true;
    --open;
  }
};

Backend::Backend(Serve serve, const std::string& address) : state_(std::make_shared<State>()) {
  state_->listener = listen_on(address);
  ::fcntl(state_->listener.get(), F_SETFL, O_NONBLOCK);
  address_ = local_address(state_->listener).to_string();
  state_->stop = Fd(::eventfd(0, EFD_CLOEXEC));
  state_->serve = std::move(serve);
  state_->acceptor = std::thread([state = state_.get()] { state->accept_loop(); });
}

Backend::~Backend() {
  state_->stop_accepting();
  {
    const std::scoped_lock lock(state_->mutex);
    for (State::Connection& each : state_->connections) {
      if (!each.finished) ::shutdown(each.socket.get(), SHUT_RDWR);
    }
  }
  for (State::Connection& each : state_->connections) each.thread.join();
}

int Backend::accepted() const {
  return state_->accepted;
}
int Backend::open() const {
  return state_->open;
}

// The close would reset what nobody has accepted. So no SYN comes in any more, and handshakes that
// have begun have a moment to end.
void Backend::stop_listening() {
  constexpr int kMomentMs = 20;
  state_->stop_accepting();
  if (Address::parse(address_).family() != AF_UNIX) state_->swallow(true);
  pollfd waiting{state_->listener.get(), POLLIN, 0};
  while (::poll(&waiting, 1, kMomentMs) > 0) state_->accept_one();
  state_->listener.close();
}

void Backend::swallow(bool swallows) {
  state_->swallow(swallows);
}

namespace {

// Echoes until end of file; gives up silently when the peer is gone.
void echo_until_end(Fd& socket) {
  char buffer[65536];
  for (;;) {
    const ssize_t size = ::recv(socket.get(), buffer, sizeof buffer, 0);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) break;
    send_all(socket, {buffer, static_cast<std::size_t>(size)});
  }
  ::shutdown(socket.get(), SHUT_WR);
}

void discard_until_end(Fd& socket) {
  char buffer[65536];
  for (;;) {
    const ssize_t size = ::recv(socket.get(), buffer, sizeof buffer, 0);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return;
  }
}

}  // namespace

Backend::Serve echo() {
  return echo_until_end;
}

Backend::Serve named(std::string name) {
  return [name = std::move(name)](Fd& socket) {
    send_all(socket, name);
    echo_until_end(socket);
  };
}

Backend::Serve digest() {
  return [](Fd& socket) {
    std::string all;
    receive_all(socket, all);
    send_all(socket, sha256_hex(all));
    ::shutdown(socket.get(), SHUT_WR);
  };
}

Backend::Serve source(std::size_t bytes, unsigned seed) {
  return [bytes, seed](Fd& socket) {
    send_all(socket, pseudo_random(bytes, seed));
    ::shutdown(socket.get(), SHUT_WR);
    discard_until_end(socket);
  };
}

Backend::Serve http_server(std::string body) {
  return [body = std::move(body)](Fd& socket) {
    std::string request;
    for (;;) {
      while (request.find("\r\n\r\n") == std::string::npos) {
        if (receive(socket, request, request.size() + 1) != StreamEnd::kOpen) return;
      }
      request.erase(0, request.find("\r\n\r\n") + 4);
      send_all(socket, "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) +
                           "\r\n\r\n" + body);
    }
  };
}

Backend::Serve stall() {
  return [](Fd& socket) {
    // No events asked for: poll returns for POLLERR and POLLHUP alone.
    pollfd nothing{socket.get(), 0, 0};
    ::poll(&nothing, 1, -1);
  };
}

Backend::Serve reset_after(std::size_t bytes) {
  return [bytes](Fd& socket) {
    std::string data;
    if (receive(socket, data, bytes) == StreamEnd::kOpen) send_all(socket, data);
    const linger abort_now{1, 0};
    ::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &abort_now, sizeof abort_now);
  };
}

void Transcript::add(std::string_view data) {
  const std::scoped_lock lock(mutex_);
  data_ += data;
  changed_.notify_all();
}

void Transcript::finish(StreamEnd end) {
  const std::scoped_lock lock(mutex_);
  end_ = end;
  changed_.notify_all();
}

StreamEnd Transcript::wait_end() {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_for(lock, kPatience, [this] { return end_ != StreamEnd::kOpen; })) {
    throw TestFailure("the backend's stream does not end");
  }
  return end_;
}

void Transcript::wait_size(std::size_t bytes) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_for(lock, kPatience, [&] { return data_.size() >= bytes; })) {
    throw TestFailure("the backend heard only " + std::to_string(data_.size()) + " bytes");
  }
}

std::string Transcript::data() const {
  const std::scoped_lock lock(mutex_);
  return data_;
}

Backend::Serve listener(Transcript& transcript) {
  return [&transcript](Fd& socket) {
    StreamEnd end = StreamEnd::kOpen;
    while (end == StreamEnd::kOpen) {
      char buffer[65536];
      const ssize_t size = ::recv(socket.get(), buffer, sizeof buffer, 0);
      if (size > 0) transcript.add({buffer, static_cast<std::size_t>(size)});
      if (size == 0) end = StreamEnd::kFin;
      if (size < 0 && errno != EINTR) end = StreamEnd::kReset;
    }
    transcript.finish(end);
    ::shutdown(socket.get(), SHUT_WR);
  };
}

std::string pseudo_random(std::size_t bytes, unsigned seed) {
  std::mt19937_64 random(seed);
  std::string data;
  data.reserve(bytes + sizeof(std::uint64_t));
  while (data.size() < bytes) {
    const std::uint64_t word = random();
    data.append(reinterpret_cast<const char*>(&word), sizeof word);
  }
  data.resize(bytes);
  return data;
}

std::string sha256_hex(std::string_view data) {
  unsigned char hash[EVP_MAX_MD_SIZE];
  std::size_t size = 0;
  EVP_Q_digest(nullptr, "SHA256", nullptr, data.data(), data.size(), hash, &size);
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (std::size_t i = 0; i < size; ++i) {
    hex += kDigits[hash[i] >> 4];
    hex += kDigits[hash[i] & 15];
  }
  return hex;
}

SilentAddress::SilentAddress(const std::string& address) : listener_(listen_on(address, 0)) {
  const Address to = local_address(listener_);
  // The queue takes one more than the backlog. What follows gets no answer to its SYN; a unix
  // socket says so at once.
  bool full = false;
  for (int i = 0; i < 3; ++i) {
    Fd filler(::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    full = ::connect(filler.get(), to.get(), to.size) != 0 && errno == EAGAIN;
    fillers_.push_back(std::move(filler));
  }
  // Only a full queue is silent: at least one filler must still be waiting.
  pollfd last{fillers_.back().get(), POLLOUT, 0};
  if (to.family() != AF_UNIX) full = ::poll(&last, 1, 0) == 0;
  if (!full) throw TestFailure("SilentAddress answers");
}

}  // namespace sallyport::test
