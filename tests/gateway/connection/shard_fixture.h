// A shard of the gateway without a process around it.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "gateway/connection/client_limits.h"
#include "gateway/connection/close_reason.h"
#include "gateway/connection/proxy_header_count.h"
#include "gateway/connection/shard_state.h"
#include "iouring/idle_worker.h"
#include "ktls/trust/handshake_result.h"
#include "metrics/registry.h"
#include "tests/ktls/records/layer_fixture.h"

namespace sallyport::gateway {

class KeptRecords final : public ConnectionLog {
 public:
  void write(ConnectionFacts record) override {
    records.push_back(std::move(record));
    ++written;
  }
  std::vector<ConnectionFacts> records;
  std::atomic<int> written = 0;  // for threads beside the shard's
};

/// What ShardState refers to, and the state itself. A test sets timeouts_ before what reads them,
/// and gives the state a snapshot. The idle worker is not started.
class ShardTest : public ::testing::Test {
 protected:
  explicit ShardTest(const HandshakeLimits& limits = {}, const iouring::RingOptions& ring = {})
      : limits_(limits), shard_(ring) {}

  void serve_with(Snapshot snapshot) {
    state_.snapshot = std::make_shared<const Snapshot>(std::move(snapshot));
  }
  /// The kernel makes the records, and is refused nothing. The test has asked for
  /// SALLYPORT_NEEDS_KTLS().
  void with_kernel_records() {
    records_ = {.wanted = RecordsWanted::kKernel, .kernel = ktls::testing::kernel_tls()};
  }

  const HandshakeLimits limits_;
  ktls::testing::Shard shard_;
  // Not bypassed on a slow machine.
  std::unique_ptr<iouring::IdleWorker> idle_worker_ =
      iouring::IdleWorker::create(*shard_.ring, {.progress_timeout = std::chrono::hours(1)})
          .value();
  Timeouts timeouts_;
  EndSettings ends_;
  RecordChoice records_;
  ConnectionLimit limit_{100};
  ClientLimits client_limits_{100, {}};
  metrics::Registry registry_{{.close_reasons = kCloseReasonWords,
                               .handshake_results = ktls::kHandshakeResultWords,
                               .fallback_reasons = {},
                               .live_causes = kKeepLiveWords,
                               .check_results = kCheckResultWords,
                               .proxy_headers = kProxyHeaderWords},
                              {}};
  metrics::ShardMetrics& metrics_ = registry_.add_shard(0);
  KeptRecords log_;
  ShardState state_{*shard_.ring, *idle_worker_, shard_.pools(), timeouts_, ends_, records_,
                    limits_,      limit_,        client_limits_, metrics_,  log_,  1};
  ServedListener served_{.text = "listener", .cells = metrics_.listener("listener")};
};

}  // namespace sallyport::gateway
