#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sallyport::ktls {

/// One step of a judgement, for people: what was looked at and what was found.
struct JudgementStep {
  /// "chain", "validity", "revocation", "trust domain", "identity", "rule"; static storage.
  std::string_view subject;
  bool passed = true;
  std::string finding;  ///< may hold text of the peer, not made printable
};
using JudgementSteps = std::vector<JudgementStep>;

}  // namespace sallyport::ktls
