// Asking a running gateway to reload, and its answer: --reload. A connection to a unix socket whose
// name has the process in it is the request; the one message that comes back is the answer. There
// is no file, and who may ask is told by the kernel.
#pragma once

#include <sys/types.h>

#include <expected>
#include <memory>
#include <string>

#include "gateway/run/control_loop.h"
#include "gateway/run/reload.h"
#include "iouring/listener.h"
#include "iouring/task.h"

namespace sallyport::gateway {

/// The side of the gateway. Control thread only.
class ControlSocket {
 public:
  /// Takes the name of this process. The error is why it cannot be had.
  [[nodiscard]] static std::expected<ControlSocket, std::string> listen(iouring::Ring& ring);

  /// Answers one after another, root and the user of this process; each request is a reload of its
  /// own. Until cancelled; all outlive the task.
  [[nodiscard]] iouring::Task<void> serve(ControlLoop& loop, Reloader& reloader);

 private:
  explicit ControlSocket(std::unique_ptr<iouring::Listener> listener)
      : listener_(std::move(listener)) {}
  std::unique_ptr<iouring::Listener> listener_;
};

/// The other side: has the gateway of this process read all of its files again, waits for as long
/// as that takes, and prints the outcome. Returns the exit code: kExitDrained where all of it is in
/// force, kExitConfiguration where something was refused, kExitFailed where there is no answer.
[[nodiscard]] int request_reload(pid_t gateway);

}  // namespace sallyport::gateway
