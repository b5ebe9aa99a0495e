#include "gateway/run/start_line.h"

#include "gateway/observe/log.h"
#include "gateway/observe/timestamp.h"
#include "gateway/run/probe_records.h"
#include "gateway/run/versions.h"

namespace sallyport::gateway {

std::optional<SoonestExpiry> soonest_expiry(const Config& config) {
  std::optional<SoonestExpiry> soonest;
  for (const auto& credentials : config.all_credentials()) {
    for (const ktls::CertificateFact& each : credentials->certificates()) {
      if (each.role != ktls::CertificateFact::Role::kServer) continue;
      if (!soonest || each.not_after < soonest->at) soonest = {each.not_after, each.name};
    }
  }
  return soonest;
}

std::size_t reachable_targets(const Config& config) {
  std::size_t targets = 0;
  for (const DiscoveredRoute& route : config.discovery().routes)
    if (config.policy()->find(route.name) != nullptr) targets += route.targets.size();
  return targets;
}

void log_started(const Options& options, const Config& config, const RecordChoice& records,
                 std::size_t shards) {
  const Versions all = versions();
  const auto soonest = soonest_expiry(config);
  log_audit(LogLevel::kInfo, "started",
            {{"version", all.sallyport},
             {"commit", all.commit},
             {"shards", shards},
             {"routes", config.policy()->routes().size()},
             {"endpoints", reachable_targets(config)},
             {"soonest_expiry", soonest ? rfc3339(soonest->at) : ""},
             {"soonest_expiry_of", soonest ? soonest->file : ""},
             {"records", expected_records(options, records)},
             {"openssl", all.openssl},
             {"kernel", all.kernel}});
}

}  // namespace sallyport::gateway
