// What an idle connection costs, small enough to be asked on every kernel that we run on: memory
// per idle connection is what this hop is for, and it grows by one careless member at a time. The
// figure of the manual, at 10,000 connections, is ten_thousand_connections_test's.
#include <sys/prctl.h>
#include <sys/resource.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <span>

#include "tests/e2e/scenario.h"
#include "tests/support/tls_backend.h"

namespace sallyport::test {
namespace {

constexpr int kFirst = 600;
constexpr int kMany = 1'000;

long slab_kib() {
  std::ifstream memory("/proc/meminfo");
  for (std::string line; std::getline(memory, line);) {
    if (line.starts_with("Slab:")) return std::stol(line.substr(5));
  }
  throw TestFailure("no Slab");
}

void raise_descriptors() {
  rlimit descriptors{};
  ::getrlimit(RLIMIT_NOFILE, &descriptors);
  descriptors.rlim_cur = descriptors.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &descriptors);
}

class IdleMemory : public Scenario {
 protected:
  void SetUp() override {
    raise_descriptors();
    // Inherited by the gateway: a huge page that is half full would hide what is put into it.
    ASSERT_EQ(::prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0), 0);
  }

  /// Each has echoed once, so that nothing of its handshake is left.
  void hold(int more) {
    for (int i = 0; i < more; ++i) {
      held.push_back(connect());
      ASSERT_TRUE(held.back().echo("x"));
    }
  }

  /// KiB of each of a thousand connections of the gateway, which has one shard.
  double measure() {
    hold(kFirst);  // whatever is allocated on first use, pools and the allocator's caches
    const long before = gateway->rss_kib();
    const long slab_before = slab_kib();
    hold(kMany);
    const double each = static_cast<double>(gateway->rss_kib() - before) / kMany;
    const double slab = static_cast<double>(slab_kib() - slab_before) / kMany;
    const Metrics metrics = gateway->metrics();
    EXPECT_EQ(metrics.sum("connections"), kFirst + kMany);
    in_kernel = metrics.sum("records_connections", {{"records", "kernel"}}) > 0;
    std::printf(
        "[ MEMORY   ] %.2f KiB per idle connection, %s records; machine's slab, peers and all "
        "%.2f KiB\n",
        each, in_kernel ? "kernel" : "userspace", slab);
    return each;
  }

  /// A hundred at a time: a guest needs half a minute for all.
  void let_go() {
    double gone = 0;
    while (!held.empty()) {
      const auto some = std::min<std::ptrdiff_t>(std::ssize(held), 100);
      for (TlsClient& client : std::span(held).last(some)) client.close_notify();
      held.erase(held.end() - some, held.end());
      gone += static_cast<double>(some);
      gateway->wait_metric("connections_closed_total", {{"reason", "done"}}, gone);
    }
    EXPECT_EQ(gone, kFirst + kMany);
  }

  std::vector<TlsClient> held;
  bool in_kernel = false;
};

// Both directions: much less would mean that something is not measured.
TEST_F(IdleMemory, StaysWithinItsBoundsOverAThousandConnections) {
  Backend backend(echo());
  start_for(backend, {"--shards", "1"});
  const double each = measure();
  EXPECT_LE(each, in_kernel ? 2.0 : 2.5);
  EXPECT_GE(each, in_kernel ? 1.5 : 1.75);
  let_go();
}

TEST_F(IdleMemory, StaysWithinItsBoundsWithTlsOnBothLegs) {
  const TestCertificate orders = root.issue({.spiffe = {"spiffe://example.org/orders"}});
  Backend backend(over_tls({.certificate = orders, .client_ca = root.cert_pem()}, echo_over_tls));
  start_for(backend,
            {"--shards", "1", "--policy", dir.write("policy.json", R"({"routes": {"orders": {
    "allow": ["spiffe://example.org/**"],
    "backend-tls": {"verify": ["spiffe://example.org/orders"]}}}})")});
  const double each = measure();
  EXPECT_LE(each, in_kernel ? 2.5 : 3.0);
  EXPECT_GE(each, in_kernel ? 1.75 : 2.25);
  let_go();
}

}  // namespace
}  // namespace sallyport::test
