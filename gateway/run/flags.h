// The flags as names and texts, and where each was given. Their meaning is options.h.
//
// Boost.Program_options is used in the .cc only.
#pragma once

#include <expected>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/run/options.h"

namespace sallyport::gateway {

/// One use of a flag.
struct GivenValue {
  std::string value;  ///< of a switch: "true"
  std::string where;  ///< "command line" or "FILE:LINE"
};

/// Uses by flag name (without dashes), in the order given.
using GivenFlags = std::map<std::string, std::vector<GivenValue>, std::less<>>;

/// The --alpn of the client that --explain is about. No flag has this name.
inline constexpr const char* kClientAlpn = "alpn of the client";

/// What read_flags() found. With `errors`, `given` is what was understood: also a flag whose name
/// is misspelt, as the one that it is most like, so that its lack is no error of its own.
struct ReadFlags {
  GivenFlags given;
  std::vector<OptionsError> errors;
};

/// The command line and, if it names one, the configuration file, as one: the command line wins
/// where both give a flag. Unknown flags, repeated ones that may not be, and missing or misplaced
/// values are errors, each with its place.
[[nodiscard]] ReadFlags read_flags(int argc, const char* const* argv);

/// What --help prints.
[[nodiscard]] std::string help_text();

}  // namespace sallyport::gateway
