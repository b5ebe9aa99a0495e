// check_endpoint() on a ring, without the checker around it.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "gateway/backends/check_endpoint.h"
#include "iouring/block_pool.h"
#include "iouring/buffer_ring.h"
#include "iouring/idle_worker.h"
#include "iouring/ring.h"
#include "ktls/records/cipher_contexts.h"

namespace sallyport::gateway {

inline Endpoint endpoint_at(const std::string& target, GroupLabels labels = {}) {
  return {.id = 0,
          .address = *iouring::SocketAddress::parse(target),
          .target = target,
          .labels = std::make_shared<const GroupLabels>(std::move(labels)),
          .health = {},
          .life = {},
          .route_life = {}};
}

class CheckFixture : public testing::Test {
 protected:
  static iouring::Task<void> check_into(const CheckTools& tools, const HealthCheck& rule,
                                        const Endpoint& endpoint,
                                        std::optional<CheckOutcome>& outcome,
                                        CheckOpening opening) {
    outcome.emplace(co_await check_endpoint(tools, rule, endpoint, opening));
  }

  // "good", or why not.
  std::string check(const HealthCheck& rule, const Endpoint& endpoint) {
    std::optional<CheckOutcome> outcome;
    ring_->run(check_into(tools_, rule, endpoint, outcome, opening_));
    heard_ = outcome->heard;
    if (outcome->result == CheckResult::kUnknown) return "unknown: " + outcome->why;
    return outcome->result == CheckResult::kSuccess ? "good" : outcome->why;
  }
  std::string check(const HealthCheck& rule, const std::string& target) {
    return check(rule, endpoint_at(target));
  }

  std::unique_ptr<iouring::Ring> ring_ = iouring::Ring::create().value();
  std::unique_ptr<iouring::IdleWorker> idle_worker_ =
      iouring::IdleWorker::create(*ring_, {}).value();
  std::unique_ptr<iouring::BufferRing> small_ = iouring::BufferRing::create(*ring_).value();
  std::unique_ptr<iouring::BufferRing> whole_ =
      iouring::BufferRing::create(*ring_, ktls::kWholeBytes, ktls::kWholeCount).value();
  iouring::BlockPool blocks_{ring_->timers()};
  ktls::CipherContexts contexts_;
  ktls::RecordPools pools_{
      .small = *small_, .whole = *whole_, .blocks = blocks_, .contexts = contexts_};
  iouring::SpareSockets sockets_{*ring_, 1};
  const CheckTools tools_{.sockets = sockets_,
                          .tls = {.idle_worker = *idle_worker_, .pools = pools_}};
  CheckOpening opening_;
  bool heard_ = false;
};

}  // namespace sallyport::gateway
