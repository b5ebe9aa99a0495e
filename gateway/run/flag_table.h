// What each flag is called, takes and does: the one table that parsing, --help, man page and
// completions are made of.
#pragma once

#include <span>

namespace sallyport::gateway {

struct Flag {
  const char* name;   ///< without dashes
  const char* value;  ///< the placeholder, or the choices as a|b; empty for a switch
  bool repeatable;
  const char* help;  ///< plain ASCII, one paragraph
};

struct FlagGroup {
  const char* title;
  std::span<const Flag> flags;
  bool in_file = true;  ///< whether a configuration file may have them
};

/// Every flag, as --help lists them. Static.
[[nodiscard]] std::span<const FlagGroup> flag_groups();

}  // namespace sallyport::gateway
