#include "gateway/run/check.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <expected>
#include <string>
#include <utility>
#include <vector>

#include "gateway/run/check_summary.h"
#include "gateway/run/config.h"
#include "gateway/run/exit_code.h"
#include "gateway/run/probe_records.h"
#include "gateway/run/process.h"
#include "gateway/run/server_contexts.h"
#include "iouring/address.h"
#include "iouring/file_descriptor.h"

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
    for (const auto& each : outcome.refused_routes) add(errors, each.error);
  }
  if (!config.complete()) return;
  const auto contexts = ServerContexts(options.listen, 1).renew(config.credentials());
  if (!contexts) add(errors, contexts.error());
}

// Binds to port 0 of the address: a gateway that runs already has the port.
void check_address(const char* flag, const ListenAddress& listen, Errors& errors) {
  const auto address = iouring::SocketAddress::parse(listen.text);
  if (!address) return;  // its form was checked with the flags
  const auto any_port = address->with_port(0);
  const iouring::FileDescriptor socket(::socket(any_port.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (socket && ::bind(socket.get(), any_port.data(), any_port.size()) == 0) return;
  const int error = errno;
  if (error != EADDRNOTAVAIL && error != EAFNOSUPPORT) return;
  add(errors, std::string(flag) + " " + listen.text +
                  ": this machine has no such address: " + std::strerror(error));
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

int report(const Errors& errors) {
  for (const std::string& error : errors) std::fprintf(stderr, "%s\n", error.c_str());
  return kExitConfiguration;
}

}  // namespace

int check(const Options& options) {
  const RecordChoice records = probe_records(options);  // before root is given up, as at start
  const auto became = become_reader(options.user);
  if (!became) return report({became.error()});
  Config config(options);
  Errors errors;
  check_files(options, config, errors);
  for (const ListenAddress& listen : options.listen) check_address("--listen", listen, errors);
  check_address("--admin", options.admin, errors);
  if (const auto unmet = records_unmet(options, records)) add(errors, *unmet);

  for (const std::string& warning : config.warnings()) {
    std::fprintf(stderr, "warning: %s\n", warning.c_str());
  }
  if (!errors.empty()) return report(errors);

  if (records.wanted != RecordsWanted::kUserspace) {
    std::printf("%s\n", records.kernel.describe().c_str());
  }
  std::printf("%sconfiguration is good\n", check_summary(options, config).c_str());
  return kExitDrained;
}

}  // namespace sallyport::gateway
