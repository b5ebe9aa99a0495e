// The cost of the event loop itself: a coroutine, an iteration, a timer, a byte through a socket.
// Build Release, run alone on a quiet machine, compare within one run only.
#include <benchmark/benchmark.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <utility>

#include "iouring/both.h"
#include "iouring/buffer_ring.h"
#include "iouring/deadline.h"
#include "iouring/next_iteration.h"
#include "iouring/ring.h"
#include "iouring/socket.h"
#include "iouring/task_group.h"

namespace sallyport::iouring {
namespace {

using namespace std::chrono_literals;

std::unique_ptr<Ring> make_ring(unsigned table = 0) {
  auto ring = Ring::create({.registered_descriptors = table});
  if (!ring) std::abort();
  return std::move(*ring);
}

struct Pair {
  Socket left;
  Socket right;
};

Pair tcp_pair(Ring& ring) {
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

[[gnu::noinline]] Task<int> one(int value) {
  co_return value;
}

Task<void> await_loop(benchmark::State& state) {
  int sum = 0;
  for (auto _ : state) {
    const int value = co_await one(1);
    sum += value;
  }
  benchmark::DoNotOptimize(sum);
}

void await_a_task(benchmark::State& state) {
  auto ring = make_ring();
  ring->run(await_loop(state));
}
BENCHMARK(await_a_task);

Task<void> both_loop(benchmark::State& state) {
  int sum = 0;
  for (auto _ : state) {
    auto [a, b] = co_await both(one(1), one(2));
    sum += a + b;
  }
  benchmark::DoNotOptimize(sum);
}

void await_both_of_two(benchmark::State& state) {
  auto ring = make_ring();
  ring->run(both_loop(state));
}
BENCHMARK(await_both_of_two);

Task<void> yield_loop(Ring& ring, benchmark::State& state) {
  for (auto _ : state) co_await next_iteration(ring);
}

void loop_iteration(benchmark::State& state) {
  auto ring = make_ring();
  ring->run(yield_loop(*ring, state));
}
BENCHMARK(loop_iteration);

Task<void> nothing() {
  co_return;
}

Task<void> spawn_loop(Ring& ring, benchmark::State& state) {
  const auto tasks = static_cast<int>(state.range(0));
  TaskGroup group(ring);
  for (auto _ : state) {
    for (int i = 0; i < tasks; ++i) group.spawn(nothing());
    co_await group.join();
  }
  state.SetItemsProcessed(state.iterations() * tasks);
}

void spawn_and_join(benchmark::State& state) {
  auto ring = make_ring();
  ring->run(spawn_loop(*ring, state));
}
BENCHMARK(spawn_and_join)->Arg(1)->Arg(1000);

Task<void> deadline_loop(Ring& ring, benchmark::State& state, bool disarm) {
  CancelScope scope;
  Deadline deadline(ring, scope);
  deadline.arm(1h);
  for (auto _ : state) {
    deadline.arm(2h);
    if (disarm) deadline.disarm();
    benchmark::ClobberMemory();
  }
  co_return;
}

void arm_a_deadline_again(benchmark::State& state) {
  auto ring = make_ring();
  ring->run(deadline_loop(*ring, state, false));
}
BENCHMARK(arm_a_deadline_again);

void arm_and_disarm_a_deadline(benchmark::State& state) {
  auto ring = make_ring();
  ring->run(deadline_loop(*ring, state, true));
}
BENCHMARK(arm_and_disarm_a_deadline);

Task<void> reflect(Socket& socket) {
  std::array<std::byte, 1024> room{};
  for (;;) {
    Result<std::size_t> received = co_await socket.recv(room);  // not const: see DoNotOptimize
    if (!received || *received == 0) co_return;
    const Result<> sent = co_await socket.send_all(std::span(room).first(*received));
    if (!sent) co_return;
  }
}

Task<void> reflect_leased(Socket& socket, BufferRing& buffers) {
  for (;;) {
    const Result<Lease> lease = co_await socket.recv(buffers);
    if (!lease || !*lease) co_return;
    const Result<> sent = co_await socket.send_all(lease->bytes());
    if (!sent) co_return;
  }
}

Task<void> ask(Socket& socket, benchmark::State& state) {
  std::array<std::byte, 1024> message{};
  for (auto _ : state) {
    const Result<> sent = co_await socket.send_all(message);
    for (std::size_t got = 0; sent && got < message.size();) {
      const Result<std::size_t> received = co_await socket.recv(std::span(message).subspan(got));
      if (!received) std::abort();
      got += *received;
    }
  }
  const Result<> shut = co_await socket.shutdown_write();
  if (!shut) std::abort();
}

Task<void> echo_loop(Ring& ring, benchmark::State& state, BufferRing* buffers, bool table) {
  Pair pair = tcp_pair(ring);
  if (table) {
    const Result<> left = co_await pair.left.to_table();
    const Result<> right = co_await pair.right.to_table();
    if (!left || !right) std::abort();
  }
  const std::uint64_t before = ring.iterations();
  co_await both(ask(pair.left, state),
                buffers != nullptr ? reflect_leased(pair.right, *buffers) : reflect(pair.right));
  state.counters["loop_iterations"] =
      static_cast<double>(ring.iterations() - before) / static_cast<double>(state.iterations());
}

// Both ends on this ring: two sends and two receives a round.
void echo_1k_own_buffer(benchmark::State& state) {
  auto ring = make_ring();
  ring->run(echo_loop(*ring, state, nullptr, false));
}
BENCHMARK(echo_1k_own_buffer);

void echo_1k_provided_buffer(benchmark::State& state) {
  auto ring = make_ring();
  auto buffers = BufferRing::create(*ring);
  if (!buffers) std::abort();
  ring->run(echo_loop(*ring, state, buffers->get(), false));
}
BENCHMARK(echo_1k_provided_buffer);

void echo_1k_registered_descriptor(benchmark::State& state) {
  auto ring = make_ring(16);
  auto buffers = BufferRing::create(*ring);
  if (!buffers) std::abort();
  ring->run(echo_loop(*ring, state, buffers->get(), true));
}
BENCHMARK(echo_1k_registered_descriptor);

Task<void> table_loop(Ring& ring, benchmark::State& state) {
  const Pair pair = tcp_pair(ring);
  for (auto _ : state) {
    Socket copy(ring, FileDescriptor(::dup(pair.left.descriptor())));
    const Result<> moved = co_await copy.to_table();
    if (!moved) std::abort();
  }
}

// dup(2), to_table(), and the close by the destructor, which is not waited for.
void to_table_and_close(benchmark::State& state) {
  auto ring = make_ring(16);
  ring->run(table_loop(*ring, state));
}
BENCHMARK(to_table_and_close);

sockaddr_in listen_on_loopback(const FileDescriptor& listener) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* const plain = reinterpret_cast<sockaddr*>(&address);
  if (::bind(listener.get(), plain, size) != 0 || ::listen(listener.get(), 16) != 0 ||
      ::getsockname(listener.get(), plain, &size) != 0)
    std::abort();
  return address;
}

FileDescriptor tcp_socket() {
  return FileDescriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

// As the gateway's for checks: acknowledges with what it sends first, here the reset.
FileDescriptor checking_socket() {
  constexpr int kSeconds = 1;
  FileDescriptor socket = tcp_socket();
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_DEFER_ACCEPT, &kSeconds, sizeof kSeconds);
  return socket;
}

// What a check by TCP costs at least, both halves of TCP included: the system calls alone.
void connect_by(const FileDescriptor& socket, const sockaddr_in& address) {
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    std::abort();
}

void check_by_a_new_socket(benchmark::State& state) {
  const FileDescriptor listener = tcp_socket();
  const sockaddr_in address = listen_on_loopback(listener);
  for (auto _ : state) {
    const FileDescriptor socket = checking_socket();
    connect_by(socket, address);
    constexpr linger kReset = {.l_onoff = 1, .l_linger = 0};
    ::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &kReset, sizeof kReset);
  }
}
BENCHMARK(check_by_a_new_socket);

void check_by_a_kept_socket(benchmark::State& state) {
  const FileDescriptor listener = tcp_socket();
  const sockaddr_in address = listen_on_loopback(listener);
  const FileDescriptor socket = checking_socket();
  for (auto _ : state) {
    connect_by(socket, address);
    constexpr sockaddr kNone{.sa_family = AF_UNSPEC, .sa_data = {}};
    if (::connect(socket.get(), &kNone, sizeof kNone) != 0) std::abort();
  }
}
BENCHMARK(check_by_a_kept_socket);

Task<void> scoped_recv(Socket& socket) {
  std::array<std::byte, 1> room{};
  Result<std::size_t> received = co_await socket.recv(room);  // not const: see DoNotOptimize
  benchmark::DoNotOptimize(received);
}

Task<void> run_scoped(CancelScope& scope, Socket& socket) {
  co_await in_scope(scope, scoped_recv(socket));
}

Task<void> cancel_it(Ring& ring, CancelScope& scope) {
  co_await next_iteration(ring);
  scope.cancel();
}

Task<void> cancel_loop(Ring& ring, benchmark::State& state) {
  Pair pair = tcp_pair(ring);
  for (auto _ : state) {
    CancelScope scope;
    co_await both(run_scoped(scope, pair.left), cancel_it(ring, scope));
  }
}

void cancel_a_receive(benchmark::State& state) {
  auto ring = make_ring();
  ring->run(cancel_loop(*ring, state));
}
BENCHMARK(cancel_a_receive);

}  // namespace
}  // namespace sallyport::iouring

BENCHMARK_MAIN();
