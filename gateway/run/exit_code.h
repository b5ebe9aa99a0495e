#pragma once

namespace sallyport::gateway {

/// Exit codes of the program.
inline constexpr int kExitDrained = 0;        ///< also: --check found nothing wrong
inline constexpr int kExitFailed = 1;         ///< the system refused something, or a shard failed
inline constexpr int kExitConfiguration = 2;  ///< flags, or the files that they name
inline constexpr int kExitRefused = 3;        ///< --explain: the client is refused
inline constexpr int kExitSomeEnd = 4;        ///< --check --against: connections would end

}  // namespace sallyport::gateway
