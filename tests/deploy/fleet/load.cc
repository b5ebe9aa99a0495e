#include "tests/deploy/fleet/load.h"

#include <cstdlib>
#include <utility>

#include "tests/support/backend.h"
#include "tests/support/random.h"
#include "tests/support/wait.h"

namespace sallyport::test {
namespace {

std::uint64_t number_from(const char* variable) {
  const char* const text = std::getenv(variable);
  return text == nullptr ? 1 : std::stoull(text);
}

// 127.1.THREAD.*, counted through ports that nothing listens on.
std::string source_of(std::size_t thread, int number) {
  constexpr int kFirstPort = 10'000;
  constexpr int kPorts = 50'000;
  return "127.1." + std::to_string(thread) + "." + std::to_string(1 + number / kPorts) + ":" +
         std::to_string(kFirstPort + number % kPorts);
}

}  // namespace

std::uint64_t seed_of_fleet() {
  return number_from("SALLYPORT_FLEET_SEED");
}
int rounds_of_fleet() {
  return static_cast<int>(number_from("SALLYPORT_FLEET_ROUNDS"));
}

Load::Load(std::string address, const ClientOptions& options)
    : address_(std::move(address)), options_(options), data_(pseudo_random(64U << 10, 1)) {
  for (std::size_t thread = 0; thread < kThreads; ++thread) {
    threads_.emplace_back([this, thread] { run(thread); });
  }
}

void Load::run(std::size_t thread) {
  Random random(seed_of_fleet() + thread);
  std::shared_ptr<SSL_SESSION> session;
  for (int number = 0; !ending_; ++number) {
    Outcome outcome = connect_once(thread, number, session, random.one_in(2));
    {
      const std::scoped_lock lock(mutex_);
      outcomes_.push_back(std::move(outcome));
    }
    ++ended_[thread];
    std::this_thread::sleep_for(std::chrono::milliseconds(5 + random.below(10)));
  }
}

Outcome Load::connect_once(std::size_t thread, int number, std::shared_ptr<SSL_SESSION>& session,
                           bool resuming) const {
  ClientOptions options = options_;
  options.source = source_of(thread, number);
  if (resuming) options.session = session;
  Outcome outcome{.client = options.source,
                  .began = std::chrono::steady_clock::now(),
                  .offered = options.session != nullptr};
  try {
    TlsClient tls(address_, std::move(options));
    const bool echoed = tls.connected() && tls.echo(data_);
    outcome.resumed = tls.resumed();
    if (echoed) {
      session = tls.session();
      tls.close_notify();
      tls.receive_all();
    }
    if (!echoed || tls.end() != TlsEnd::kCloseNotify) {
      outcome.failure = std::string(echoed ? "at its end: " : "before its end: ") +
                        to_string(tls.end()) + " " + tls.tls_error();
    }
  } catch (const TestFailure& failure) {
    outcome.failure = failure.what();
  }
  return outcome;
}

void Load::wait_more(int connections_each) const {
  int before[kThreads];
  for (std::size_t thread = 0; thread < kThreads; ++thread) before[thread] = ended_[thread];
  wait_until("clients come and go", [&] {
    for (std::size_t thread = 0; thread < kThreads; ++thread) {
      if (ended_[thread] < before[thread] + connections_each) return false;
    }
    return true;
  });
}

const std::vector<Outcome>& Load::stop() {
  ending_ = true;
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  return outcomes_;
}

std::string failures(const std::vector<Outcome>& outcomes) {
  std::string all;
  for (const Outcome& each : outcomes) {
    if (!each.failure.empty()) all += each.client + " " + each.failure + "\n";
  }
  return all;
}

}  // namespace sallyport::test
