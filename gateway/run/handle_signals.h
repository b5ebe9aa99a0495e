#pragma once

#include "gateway/run/drain.h"
#include "gateway/run/reload.h"
#include "iouring/signals.h"
#include "iouring/task.h"

namespace sallyport::gateway {

/// SIGHUP reloads every file; those that are pending meanwhile are one. SIGTERM and SIGINT drain;
/// one more, at least a second after the first, ends at once. Until cancelled; the references
/// outlive the task.
[[nodiscard]] iouring::Task<void> handle_signals(iouring::Signals& signals, Reloader& reloader,
                                                 Drain& drain);

}  // namespace sallyport::gateway
