// What an endpoint answers to a health check. However the bytes are cut, once something is decided
// it stays so, and a decision is never put off for ever.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "gateway/backends/check_endpoint.h"

using namespace sallyport::gateway;

namespace {

// As much as is looked at, see docs/discovery-and-policy.md.
constexpr std::size_t kMost = 16'384;

void check(const HealthCheck& rule, std::string_view answer) {
  std::optional<CheckResult> decided;
  for (std::size_t size = 0; size <= answer.size(); ++size) {
    const auto outcome = judge_answer(rule, answer.substr(0, size));
    if (decided && (!outcome || outcome->result != *decided)) std::abort();
    if (!outcome) {
      if (size >= kMost) std::abort();
      continue;
    }
    if (outcome->result == CheckResult::kUnknown || !outcome->heard) std::abort();
    if ((outcome->result == CheckResult::kFailure) == outcome->why.empty()) std::abort();
    if (rule.type == HealthCheck::Type::kHttp) decided = outcome->result;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view answer(reinterpret_cast<const char*>(data), size < 512 ? size : 512);
  check({.type = HealthCheck::Type::kHttp}, answer);
  check({.type = HealthCheck::Type::kSendExpect, .expect = "+PONG"}, answer);
  return 0;
}
