#include "gateway/run/check.h"

#include <unistd.h>

#include <cstdio>
#include <expected>
#include <set>
#include <string>
#include <vector>

#include "gateway/run/config.h"
#include "gateway/run/exit_code.h"
#include "gateway/run/probe_records.h"
#include "gateway/run/process.h"
#include "gateway/run/server_contexts.h"

namespace sallyport::gateway {
namespace {

// What is wrong with the files, each once: two sources that do not fit together have one error.
std::vector<std::string> check_files(const Options& options, Config& config) {
  std::vector<std::string> errors;
  std::set<std::string> known;
  for (const SourceOutcome& outcome : config.reload(true).outcomes) {
    if (outcome.error && known.insert(*outcome.error).second) errors.push_back(*outcome.error);
    for (const auto& each : outcome.refused_routes) errors.push_back(each.error);
  }
  if (!errors.empty()) return errors;
  const auto contexts = ServerContexts(options.listen, 1).renew(config.credentials());
  if (!contexts) errors.push_back(contexts.error());
  return errors;
}

// Reads the files as --user from now on, as a start does. Only root can become another user; any
// other user is told as which one it judges. The error is what is wrong with --user.
std::expected<void, std::string> become_reader(const std::string& user) {
  if (user.empty()) return {};
  if (::geteuid() == 0) return become_user(user);
  const auto found = find_user(user);
  if (!found) return std::unexpected(found.error());
  if (found->user != ::geteuid()) {
    std::fprintf(stderr, "warning: not root: files are judged as the user that runs this, not %s\n",
                 user.c_str());
  }
  return {};
}

int report(const std::vector<std::string>& errors) {
  for (const std::string& error : errors) std::fprintf(stderr, "%s\n", error.c_str());
  return kExitConfiguration;
}

}  // namespace

int check(const Options& options) {
  const RecordChoice records = probe_records(options);  // before root is given up, as at start
  const auto became = become_reader(options.user);
  if (!became) return report({became.error()});
  Config config(options);
  std::vector<std::string> errors = check_files(options, config);
  if (const auto unmet = records_unmet(options, records)) errors.push_back(*unmet);
  if (!errors.empty()) return report(errors);

  if (records.wanted != RecordsWanted::kUserspace) {
    std::printf("%s\n", records.kernel.describe().c_str());
  }
  for (const std::string& warning : config.warnings()) {
    std::fprintf(stderr, "warning: %s\n", warning.c_str());
  }
  std::printf("configuration is good\n");
  return kExitDrained;
}

}  // namespace sallyport::gateway
