#include "gateway/run/fault_plan.h"

#ifdef SALLYPORT_FAULTS

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <utility>

#include "gateway/policy/number.h"

namespace sallyport::gateway {
namespace {

using iouring::Fault;
using iouring::Opcode;

constexpr std::array<std::pair<std::string_view, Opcode>, 11> kOpcodes{{
    {"recv", Opcode::kRecv},
    {"send", Opcode::kSend},
    {"recvmsg", Opcode::kRecvMsg},
    {"sendmsg", Opcode::kSendMsg},
    {"accept", Opcode::kAccept},
    {"connect", Opcode::kConnect},
    {"close", Opcode::kClose},
    {"files_update", Opcode::kFilesUpdate},
    {"shutdown", Opcode::kShutdown},
    {"uring_cmd", Opcode::kUringCmd},
    {"fixed_fd_install", Opcode::kFixedFdInstall},
}};

std::optional<Opcode> opcode_of(std::string_view name) {
  for (const auto& [known, opcode] : kOpcodes) {
    if (known == name) return opcode;
  }
  return std::nullopt;
}

std::optional<Fault> fault_of(std::string_view text) {
  const auto colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto value = parse_number<unsigned>(text.substr(colon + 1));
  if (!value) return std::nullopt;
  const std::string_view kind = text.substr(0, colon);
  if (kind == "error") return Fault::error(static_cast<int>(*value));
  if (kind == "short") return Fault::short_count(*value);
  if (kind == "delay") return Fault::delay(*value);
  return std::nullopt;
}

// One rule, `send~0.3=short:1`, into the plan; false when it cannot be read.
bool add_rule(iouring::FaultPlan& plan, std::string_view rule) {
  const auto equals = rule.find('=');
  const auto mark = rule.find_first_of("~#");
  if (equals == std::string_view::npos || mark == std::string_view::npos || mark > equals) {
    return false;
  }
  const auto opcode = opcode_of(rule.substr(0, mark));
  const auto fault = fault_of(rule.substr(equals + 1));
  const std::string_view when = rule.substr(mark + 1, equals - mark - 1);
  if (!opcode || !fault) return false;
  if (rule[mark] == '#') {
    const auto nth = parse_number<std::uint64_t>(when);
    if (!nth || *nth == 0) return false;
    plan.nth(*opcode, *nth, *fault);
    return true;
  }
  const auto chance = parse_number<double>(when);
  if (!chance) return false;
  plan.chance(*opcode, *chance, *fault);
  return true;
}

}  // namespace

std::expected<std::unique_ptr<iouring::FaultPlan>, std::string> parse_fault_plan(
    std::string_view text) {
  auto plan = std::make_unique<iouring::FaultPlan>();
  while (!text.empty()) {
    const std::string_view rule = text.substr(0, text.find(';'));
    text.remove_prefix(std::min(text.size(), rule.size() + 1));
    if (rule.starts_with("seed=")) {
      const auto seed = parse_number<std::uint64_t>(rule.substr(5));
      if (!seed) return std::unexpected("not a seed: " + std::string(rule));
      *plan = iouring::FaultPlan(*seed);
    } else if (!add_rule(*plan, rule)) {
      return std::unexpected("not a fault: " + std::string(rule));
    }
  }
  return plan;
}

std::unique_ptr<iouring::FaultPlan> fault_plan_from_environment() {
  const char* text = std::getenv("SALLYPORT_FAULT_PLAN");
  if (text == nullptr) return nullptr;
  auto plan = parse_fault_plan(text);
  if (!plan) {
    std::fprintf(stderr, "SALLYPORT_FAULT_PLAN: %s\n", plan.error().c_str());
    std::exit(2);
  }
  return *std::move(plan);
}

}  // namespace sallyport::gateway
#endif
