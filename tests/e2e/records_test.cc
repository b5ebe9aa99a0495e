// Kernel or userspace records: chosen for each connection, counted, and shown in log, metrics and
// admin pages.
#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

class Records : public Scenario {
 protected:
  void expect_open(const std::string& model, double count) {
    const Metrics metrics = gateway->metrics();
    for (const char* direction : {"receive", "send"}) {
      for (const char* each : {"kernel", "userspace"}) {
        EXPECT_EQ(metrics.sum("records_connections", {{"direction", direction}, {"records", each}}),
                  each == model ? count : 0)
            << direction << " " << each;
      }
    }
  }

  Backend backend{echo()};
};

TEST_F(Records, AreTheKernelsWhereItCanAndCountedWithTheReasonWhereItCannot) {
  start_for(backend, {"--records", "auto"});
  const std::string model = records_model();
  TlsClient tls = connect();
  ASSERT_TRUE(tls.echo(std::string(50'000, 'x')));
  expect_open(model, 1);
  const double fallbacks = gateway->metrics().sum("ktls_fallback_total");
  EXPECT_EQ(fallbacks, model == "kernel" ? 0 : 1);
  tls.close_notify();
  tls.receive_all();
  EXPECT_EQ(gateway->wait_log({{"client", tls.local_address()}}).at("records"), model);
  expect_open(model, 0);
}

TEST_F(Records, AreUserspacesOnRequestAndThenTheKernelIsNotAsked) {
  start_for(backend, {"--records", "userspace"});
  TlsClient tls = connect();
  ASSERT_TRUE(tls.echo("x"));
  expect_open("userspace", 1);
  EXPECT_EQ(gateway->metrics().sum("ktls_fallback_total"), 0);
  EXPECT_FALSE(gateway->metrics().has("ktls_rekey_supported"));
}

TEST_F(Records, OfARefusedClientAreUserspaces) {
  start_for(backend);
  expect_refused(as(root.issue({.spiffe = {"spiffe://elsewhere.org/x"}})), "not_authorized",
                 kAccessDenied);
  EXPECT_EQ(gateway->wait_log({{"reason", "not_authorized"}}).at("records"), "userspace");
  expect_open("kernel", 0);
}

}  // namespace
}  // namespace sallyport::test
