#pragma once
// Faults of a shard's ring, as an environment variable gives them. Test builds only
// (SALLYPORT_FAULTS).
#ifdef SALLYPORT_FAULTS

#include <expected>
#include <memory>
#include <string>
#include <string_view>

#include "iouring/faults.h"

namespace sallyport::gateway {

/// Parses `seed=7;send~0.3=short:1;connect#1=error:111;recv~0.1=delay:3`: an operation, `~chance`
/// or `#nth` submission, and `error:ERRNO`, `short:BYTES` or `delay:ITERATIONS` (of the loop). The
/// operations are recv, send, recvmsg, sendmsg, accept, connect, close, files_update, shutdown,
/// uring_cmd and fixed_fd_install.
[[nodiscard]] std::expected<std::unique_ptr<iouring::FaultPlan>, std::string> parse_fault_plan(
    std::string_view text);

/// The plan in the variable SALLYPORT_FAULT_PLAN; null without one. A plan that cannot be read ends
/// the process: the test would else run, and pass, without its faults.
[[nodiscard]] std::unique_ptr<iouring::FaultPlan> fault_plan_from_environment();

}  // namespace sallyport::gateway
#endif
