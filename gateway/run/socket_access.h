// Who may connect to the unix socket of an --egress.
#pragma once

#include <expected>
#include <string>

#include "gateway/observe/socket_file.h"
#include "gateway/run/egress_address.h"

namespace sallyport::gateway {

/// Looks owner and group up, by name or number. Where none is given it is `user`, that of --user,
/// and its primary group; ours if that is empty. The error names the one that is unknown.
[[nodiscard]] std::expected<SocketFile::Access, std::string> socket_access(
    const EgressAddress& egress, const std::string& user);

}  // namespace sallyport::gateway
