// sallyport: a mutual-TLS gateway. Flags in, exit code out; the rest is in Gateway.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <variant>

#include "gateway/observe/log.h"
#include "gateway/observe/priority.h"
#include "gateway/run/check.h"
#include "gateway/run/control_socket.h"
#include "gateway/run/exit_code.h"
#include "gateway/run/explain.h"
#include "gateway/run/gateway.h"
#include "gateway/run/options.h"
#include "gateway/run/process.h"
#include "iouring/signals.h"
#include "ktls/handshake/tls_library.h"

int main(int argc, char** argv) {
  using namespace sallyport;
  if (!gateway::open_standard_descriptors()) return gateway::kExitFailed;
  // Log rotation and habit send these to daemons; their default would end the process.
  std::signal(SIGUSR1, SIG_IGN);
  std::signal(SIGUSR2, SIG_IGN);
  // Before the first thread: every thread inherits these. Only the control thread takes signals.
  gateway::forbid_new_privileges();
  iouring::block_signals({SIGHUP, SIGTERM, SIGINT, SIGPIPE});
  ktls::skip_legacy_cipher_names();

  const auto parsed = gateway::parse(argc, argv);
  if (!parsed) return gateway::refuse(parsed.error());
  if (const auto* information = std::get_if<gateway::Information>(&*parsed)) {
    std::fputs(information->text.c_str(), stdout);
    return 0;
  }
  if (const auto* reload = std::get_if<gateway::ReloadRequest>(&*parsed))
    return gateway::request_reload(reload->gateway);
  const auto& options = std::get<gateway::Options>(*parsed);
  gateway::configure_log(options.log_format, options.log_level,
                         gateway::is_journal(STDERR_FILENO, std::getenv("JOURNAL_STREAM")));
  if (options.check) return gateway::check(options);
  if (options.explain) return gateway::explain(options);
  return gateway::Gateway(options).run();
}
