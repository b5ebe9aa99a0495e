#include "gateway/run/check.h"

#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "gateway/run/check_summary.h"
#include "gateway/run/client_contexts.h"
#include "gateway/run/config.h"
#include "gateway/run/configuration_error.h"
#include "gateway/run/exit_code.h"
#include "gateway/run/kept_discovery.h"
#include "gateway/run/local_address.h"
#include "gateway/run/probe_records.h"
#include "gateway/run/process.h"
#include "gateway/run/rehearsal.h"
#include "gateway/run/server_contexts.h"
#include "gateway/run/socket_access.h"
#include "gateway/run/socket_paths.h"
#include "gateway/run/state_dir.h"

namespace sallyport::gateway {
namespace {

using Errors = std::vector<std::string>;

// Each error once: two sources that do not fit together have one.
void add(Errors& errors, std::string error) {
  if (std::ranges::find(errors, error) == errors.end()) errors.push_back(std::move(error));
}

void check_files(const Options& options, Config& config, Errors& errors) {
  for (const SourceOutcome& outcome : config.reload(true).outcomes) {
    if (outcome.error) add(errors, *outcome.error);
    for (const auto& each : outcome.refused_routes) add(errors, each.error.to_string());
  }
  if (!config.complete()) return;
  const Policy& policy = *config.policy();
  const auto credentials = config.all_credentials();
  const auto contexts = ServerContexts(options.listen, 1).renew(for_clients(policy, credentials));
  if (!contexts) add(errors, contexts.error());
  const auto of_backends = ClientContexts(1).renew(policy, credentials);
  if (!of_backends) add(errors, of_backends.error());
}

void check_state(const Options& options, Errors& errors) {
  if (options.state_dir.empty()) return;
  const auto directory = StateDir::open(options.state_dir);
  if (!directory) return add(errors, directory.error());
  const auto kept = read_kept_discovery(*directory, options.discovery);
  if (!kept) std::fprintf(stderr, "sallyport: warning: %s\n", kept.error().c_str());
}

// Addresses that this machine has not. The ports are not looked at: a gateway that runs has them.
void check_addresses(const Options& options, Errors& errors) {
  if (auto shared = find_shared_socket(options)) add(errors, *std::move(shared));
  for (const ListenAddress& listen : options.listen) {
    if (auto why = unusable_address(listen.address)) {
      add(errors, "--listen " + listen.text + ": " + *why);
    } else if (listen.address.family() == AF_INET6 && ipv6_is_off()) {
      std::fprintf(stderr,
                   "sallyport: warning: --listen %s: IPv6 is switched off, no client comes there\n",
                   listen.text.c_str());
    }
  }
  for (const EgressAddress& egress : options.egress) {
    if (egress.address.is_unix()) {  // as below
      if (const auto access = socket_access(egress, options.user); !access)
        add(errors, "--egress " + egress.text + ": " + access.error());
    } else if (auto why = unusable_address(egress.address)) {
      add(errors, "--egress " + egress.text + ": " + *why);
    }
  }
  for (const AdminAddress& admin : options.admin) {
    // A unix socket is not tried, since that would make its file.
    if (admin.address.is_unix()) continue;
    if (auto why = unusable_address(admin.address))
      add(errors, "--admin " + admin.text + ": " + *why);
  }
}

// Whether the files can be judged: what they are read for is known.
bool says_what_files_are_for(const Options& options) {
  const bool rules =
      options.allow_any_verified || !options.allow.empty() || !options.policy.empty();
  const bool certificates = !options.pairs.empty() || options.listen.empty();
  return rules && certificates && !options.ca.empty() && !options.discovery.empty();
}

// Reports them. Whether there were any.
bool report_errors(const Options& options, const RecordChoice& records, Config& config) {
  Errors errors;
  if (says_what_files_are_for(options)) check_files(options, config, errors);
  check_state(options, errors);
  check_addresses(options, errors);
  if (const auto unmet = records_unmet(options, records)) add(errors, *unmet);

  for (const Finding& each : config.findings()) {
    std::fprintf(stderr, "sallyport: warning: %s\n", each.to_string().c_str());
  }
  for (const std::string& error : errors) report_configuration_error(error);
  return !errors.empty();
}

}  // namespace

int check(const Options& options) {
  const RecordChoice records = probe_records(options);  // before root is given up, as at start
  const auto became = become_reader(options.user);
  if (!became) return report_configuration_error(became.error());
  Config config(options);
  if (report_errors(options, records, config)) return kExitConfiguration;

  if (records.wanted != RecordsWanted::kUserspace) {
    std::printf("%s\n", records.kernel.describe().c_str());
  }
  std::printf("%sconfiguration is good\n", check_summary(options, config, records).c_str());
  return options.against ? check_against(options, config) : kExitDrained;
}

int refuse(const RefusedOptions& refused) {
  for (const OptionsError& error : refused.errors) report_configuration_error(error.message());
  const Options& options = refused.understood;
  const RecordChoice records = probe_records(options);
  if (const auto became = become_reader(options.user); !became) {
    report_configuration_error(became.error());
  } else {
    Config config(options);
    report_errors(options, records, config);
  }
  return report_configuration_error("--help lists all flags");
}

}  // namespace sallyport::gateway
