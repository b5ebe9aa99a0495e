// What a reload changed, in words: the audit trail.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "gateway/backends/discovery.h"
#include "gateway/policy/policy.h"
#include "gateway/run/credentials_table.h"

namespace sallyport::gateway {

/// One change an entry: "+ " came, "- " went, else what it was and is. In the order of their names,
/// at most kMostChanges; a last entry says how many more there are. Safe to print.
using Changes = std::vector<std::string>;
inline constexpr std::size_t kMostChanges = 50;

/// Certificates and anchors with serial and expiry, CRLs with number and next update, of all files.
/// Where nothing of that differs: the ticket secret.
[[nodiscard]] Changes credentials_changes(const CredentialsTable& before,
                                          const CredentialsTable& next);

/// Routes, and the keys of the policy file that differ in each. Of a route that came, the keys that
/// have another value than their default.
[[nodiscard]] Changes policy_changes(const Policy& before, const Policy& next);

/// Routes and targets. Of one route at most kMostTargets that came, as many that went and whose
/// labels changed, and how many more.
[[nodiscard]] Changes discovery_changes(const Discovery& before, const Discovery& next);
inline constexpr std::size_t kMostTargets = 10;

}  // namespace sallyport::gateway
