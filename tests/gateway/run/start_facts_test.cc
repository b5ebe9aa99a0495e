// What a start says of itself before it serves anyone.
#include <gtest/gtest.h>

#include <cerrno>
#include <optional>

#include "gateway/run/local_address.h"
#include "gateway/run/probe_records.h"
#include "gateway/run/shard_count.h"
#include "ktls/keys/suite.h"
#include "tests/support/net.h"

namespace sallyport::gateway {
namespace {

TEST(StartFacts, RecordsAreOfUserspaceWhereTheKernelTakesNone) {
  const Options options;
  EXPECT_EQ(expected_records(options, {.wanted = RecordsWanted::kAuto, .kernel = {}}), "userspace");
  EXPECT_EQ(expected_records(options, {.wanted = RecordsWanted::kUserspace, .kernel = {}}),
            "userspace");
}

TEST(StartFacts, RecordsAreWhereThisKernelTakesThem) {
  Options options;
  options.ciphersuites = {"TLS_AES_128_GCM_SHA256"};
  const RecordChoice choice = probe_records(options);
  const bool taken = !choice.kernel.refuses(ktls::RecordVersion::kTls13,
                                            *ktls::suite_from_name("TLS_AES_128_GCM_SHA256"));
  EXPECT_EQ(expected_records(options, choice), taken ? "kernel" : "userspace");
}

TEST(StartFacts, ShardsAreThoseOfTheFlagOrNoMoreThanTheCpus) {
  Options options;
  EXPECT_GE(shard_count(options, 1'000).shards, 1U);
  EXPECT_LE(shard_count(options, 1'000).shards, 1'000U);
  EXPECT_EQ(shard_count(options, 1).shards, 1U);
  options.shards = 7;
  const ShardCount asked = shard_count(options, 2);
  EXPECT_EQ(asked.shards, 7U);
  EXPECT_FALSE(asked.cpu_quota) << "it limits what was not asked for";
}

TEST(StartFacts, AnAddressThatAnotherSocketHasIsBoundElsewhere) {
  const test::Fd taken = test::listen_on("127.0.0.1:0");
  const auto address = *iouring::SocketAddress::parse(test::local_address(taken).to_string());
  const auto why = bound_elsewhere(address);
  ASSERT_TRUE(why);
  EXPECT_EQ(*why, "Address already in use");
  EXPECT_EQ(bound_elsewhere(address.with_port(0)), std::nullopt);
  EXPECT_EQ(bound_elsewhere(*iouring::SocketAddress::parse("unix:/nowhere/x")), std::nullopt);
}

TEST(StartFacts, WhatBindingRefusesSaysWhatToDo) {
  const auto address = *iouring::SocketAddress::parse("127.0.0.1:80");
  EXPECT_NE(bind_error_text(address, EADDRINUSE).find("--share-port"), std::string::npos);
  EXPECT_NE(bind_error_text(address, EACCES).find("CAP_NET_BIND_SERVICE"), std::string::npos);
}

}  // namespace
}  // namespace sallyport::gateway
