// What the kernel may do to any operation, done on purpose: short counts, late completions, errors
// at any place. Bytes stay whole or the connection ends; nothing leaks, nothing hangs,
// the counters agree. Only in builds with the seam (SALLYPORT_FAULTS).
#include <cerrno>

#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

class Faults : public Scenario {
 protected:
  Backend backend{echo()};

  void start_with(const std::string& plan, std::vector<std::string> given = {}) {
    // A send that fails although the backend is well is taken for a backend that has gone deaf and
    // may still speak: only this timeout ends the wait.
    given.insert(given.end(), {"--half-close-timeout", "300ms"});
    discover({backend.address()});
    gateway = std::make_unique<Gateway>(flags(given), true,
                                        std::vector<std::string>{"SALLYPORT_FAULT_PLAN=" + plan});
  }
  static std::string error(int number) { return "error:" + std::to_string(number); }
};

TEST_F(Faults, ShortCountsEverywhereLoseNoByte) {
  for (const char* seed : {"1", "2", "3"}) {
    start_with(std::string("seed=") + seed +
               ";send~0.5=short:7;sendmsg~0.5=short:999;recv~0.5=short:13;recvmsg~0.5=short:5");
    TlsClient tls = connect();
    EXPECT_TRUE(tls.echo(pseudo_random(300'000, 1))) << seed;
    tls.close_notify();
    EXPECT_EQ(tls.receive_all(), "");
    EXPECT_EQ(tls.end(), TlsEnd::kCloseNotify);
    finish();
  }
}

TEST_F(Faults, LateCompletionsLoseNoByte) {
  for (const char* seed : {"1", "2", "3"}) {
    start_with(std::string("seed=") + seed +
               ";send~0.3=delay:5;sendmsg~0.3=delay:3;recv~0.3=delay:4;recvmsg~0.3=delay:2;"
               "connect~0.5=delay:6;close~0.5=delay:3;files_update~0.5=delay:4;"
               "shutdown~0.5=delay:3;fixed_fd_install~0.5=delay:3");
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(served()) << seed;
    TlsClient tls = connect();
    EXPECT_TRUE(tls.echo(pseudo_random(1U << 20, 2))) << seed;
    tls.close_notify();
    tls.receive_all();
    finish();
  }
}

TEST_F(Faults, AcceptRecoversFromRunningOutOfDescriptors) {
  start_with("accept#1=" + error(EMFILE) + ";accept#2=" + error(ENFILE) +
                 ";accept#3=" + error(ENOMEM) + ";accept#4=" + error(ECONNABORTED),
             {"--shards", "1"});
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(served()) << i;
}

TEST_F(Faults, AFullTableLeavesConnectionsOnOrdinaryDescriptors) {
  start_with("files_update~1=" + error(ENFILE));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(served()) << i;
  EXPECT_EQ(gateway->wait_logs(3).back().at("reason"), "done");
}

TEST_F(Faults, AConnectThatFailsGoesOnToTheNextEndpoint) {
  Backend other(echo());
  discover({backend.address(), other.address()});
  gateway = std::make_unique<Gateway>(
      flags({"--shards", "1"}), true,
      std::vector<std::string>{"SALLYPORT_FAULT_PLAN=connect#1=" + error(ECONNREFUSED) +
                               ";connect#4=" + error(EHOSTUNREACH)});
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(served()) << i;
}

// Each step of a connection's life fails once, with what a kernel gives: that connection ends, and
// the next one is served.
struct Step {
  const char* operation;
  int number;
  friend void PrintTo(const Step& step, std::ostream* out) {
    *out << step.operation << " " << step.number;
  }
};

class FaultAtAStep : public Faults, public ::testing::WithParamInterface<Step> {};

TEST_P(FaultAtAStep, EndsOneConnectionAndNoOther) {
  const auto [operation, number] = GetParam();
  // The first dozen submissions of the operation, one gateway: each hits another step.
  std::string plan;
  for (int nth = 2; nth <= 24; nth += 2) {
    plan += std::string(operation) + "#" + std::to_string(nth) + "=" + error(number) + ";";
  }
  plan.pop_back();
  start_with(plan, {"--shards", "1"});
  for (int i = 0; i < 30; ++i) {
    TlsClient tls = connect();
    tls.exchange("ping", 4);  // may or may not be served, and must not hang
    tls.close_notify();
    tls.receive_all();
  }
  wait_until("the faults are behind us", [&] { return bool{served()}; });
  gateway->wait_logs(31);
}

INSTANTIATE_TEST_SUITE_P(
    Life, FaultAtAStep,
    ::testing::Values(Step{"recv", ECONNRESET}, Step{"recv", ENOMEM}, Step{"send", EPIPE},
                      Step{"send", ENOBUFS}, Step{"sendmsg", EPIPE}, Step{"connect", EADDRNOTAVAIL},
                      Step{"connect", ENOMEM}, Step{"files_update", EMFILE},
                      Step{"fixed_fd_install", EMFILE}, Step{"shutdown", ENOTCONN}),
    [](const auto& step) {
      return std::string(step.param.operation) + "_" + std::to_string(step.param.number);
    });

TEST_F(Faults, ManyAtOnceLeakNothingAndTheCountersAgree) {
  start_with("seed=9;recv~0.02=" + error(ECONNRESET) + ";recv~0.02=" + error(ENOMEM) +
             ";send~0.02=" + error(EPIPE) + ";sendmsg~0.02=" + error(ECONNRESET) +
             ";connect~0.2=" + error(ECONNREFUSED) + ";files_update~0.1=" + error(ENFILE) +
             ";fixed_fd_install~0.1=" + error(EMFILE) + ";recv~0.1=delay:2;send~0.2=short:100");
  for (int i = 0; i < 150; ++i) {
    TlsClient tls = connect();
    tls.exchange(std::string(5000, 'x'), 5000);
    if (i % 3 == 0) tls.close_notify();
    if (i % 3 == 1) tls.reset();
    if (i % 10 == 0) gateway->metrics();  // checks accepted = closed + open
  }
  gateway->wait_logs(150);
}

}  // namespace
}  // namespace sallyport::test
