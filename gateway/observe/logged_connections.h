// Which connections get a line.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "gateway/connection/connection_facts.h"

namespace sallyport::gateway {

/// A value of --log-connections.
enum class LogConnections {
  kAll,
  kRefused,  ///< and those that were cut, broke or failed: all that is not ended_well()
  kNone,
};

struct LoggedConnections {
  LogConnections which = LogConnections::kAll;
  bool probes = true;        ///< connections that closed before their first byte
  std::uint32_t one_in = 1;  ///< of those that ended_well(), by chance; at least 1
};

/// The flag for which a line was left out: the label of log_lines_left_out_total. What repeats is
/// of the operational log, by no flag.
enum class LeftOut : std::size_t { kLogProbes, kLogConnections, kLogSample, kRepeated };
inline constexpr std::array<std::string_view, 4> kLeftOutWords{"log-probes", "log-connections",
                                                               "log-sample", "repeated"};

[[nodiscard]] constexpr std::string_view to_string(LeftOut why) {
  return kLeftOutWords.at(static_cast<std::size_t>(why));
}

/// It was served and came to an end that is no fault: by its peers, or by our own timeouts, drain
/// or endpoints. Never what was refused, nor an end for what let it in (`revoked`, `expired`, ...).
[[nodiscard]] bool ended_well(const ConnectionFacts& facts);

/// Why its line is left out; nothing: it is written. `number` tells it from other connections: of
/// one after another every `one_in`th is drawn on average.
[[nodiscard]] std::optional<LeftOut> left_out(const LoggedConnections& logged,
                                              const ConnectionFacts& facts, std::uint64_t number);

}  // namespace sallyport::gateway
