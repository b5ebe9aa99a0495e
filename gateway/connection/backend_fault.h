#pragma once

#include "gateway/connection/live_connection.h"

namespace sallyport::gateway {

/// The backend reset the connection: before its first byte this counts towards its ejection, as far
/// as its client cannot have caused it. `client_ended`: it had sent its end.
void count_backend_reset(const LiveConnection& connection, bool client_ended);

}  // namespace sallyport::gateway
