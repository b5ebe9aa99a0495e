#pragma once

#include "gateway/backends/discovery.h"
#include "gateway/policy/policy.h"

namespace sallyport::gateway {

struct UpdateLimits {
  bool allow_empty = false;            ///< --discovery-allow-empty
  unsigned max_removal_percent = 100;  ///< --discovery-max-removal
  /// Its routes can be refused, others cannot, and its `allow-empty` counts. Null, without a policy
  /// file: every route can be.
  const Policy* policy = nullptr;
};

/// What is in force after an update: `next`, but for the routes that are refused, which keep the
/// targets of `previous` (null at the start: none). An update of a route that had targets is
/// refused, too, if it is left with none (unless allowed), or with fewer by more than the
/// percentage; the error's key is then "route 'NAME'". Errors in routes that the policy lacks
/// become warnings. See judge_identities() for those whose endpoints must prove who they are.
Discovery update_discovery(const Discovery* previous, Discovery next, const UpdateLimits& limits);

}  // namespace sallyport::gateway
