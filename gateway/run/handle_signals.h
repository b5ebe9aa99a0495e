#pragma once

#include "gateway/run/drain.h"
#include "gateway/run/reload.h"
#include "iouring/signals.h"
#include "iouring/task.h"

namespace sallyport::gateway {

/// SIGHUP reloads every file. SIGTERM and SIGINT drain, the second one ends at once. systemd gets
/// the state of each (sd_notify(3)). Until cancelled; the references outlive the task.
[[nodiscard]] iouring::Task<void> handle_signals(iouring::Signals& signals, Reloader& reloader,
                                                 Drain& drain);

}  // namespace sallyport::gateway
