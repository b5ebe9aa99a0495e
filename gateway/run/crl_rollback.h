// CRLs that are older than those in force.
#pragma once

#include <optional>
#include <string>

#include "ktls/trust/credentials.h"

namespace sallyport::gateway {

/// Whether `next` would put back a list of an issuer: its number and its thisUpdate are both lower
/// than those of the list in force with the same issuer, key (where both are known) and scope, and
/// `next` has no later one beside it. The text names both. A list without a number (RFC 5280 5.2.3)
/// is not looked at. Pure.
[[nodiscard]] std::optional<std::string> crl_rollback(const ktls::Credentials& in_force,
                                                      const ktls::Credentials& next);

}  // namespace sallyport::gateway
