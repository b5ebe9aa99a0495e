// What is installed beside the program and tells of its flags, made of the table of flags.
#pragma once

#include <string>

namespace sallyport::gateway {

/// Roff with the man macros, section 8.
[[nodiscard]] std::string man_page();

/// Scripts for shells: flags, values that are one of a few, files and folders. Each is complete by
/// itself and needs nothing but the shell.
[[nodiscard]] std::string bash_completion();
[[nodiscard]] std::string zsh_completion();
[[nodiscard]] std::string fish_completion();

}  // namespace sallyport::gateway
