#pragma once

#include <string>
#include <string_view>

namespace sallyport::gateway {

/// Why a configuration file was refused, and where. A value; safe to print: the fields hold no
/// control characters and nothing that is not UTF-8, whatever the file held.
struct ConfigError {
  std::string file;   ///< the name given to the parser
  unsigned line = 0;  ///< counted from 1; 0 = the error has no place in the file
  std::string key;    ///< path from the root, "routes.orders.allow[1]"; may be empty
  std::string what;   ///< one sentence, no full stop

  /// "file:line: key", without the parts that are absent.
  std::string place() const;
  /// "file:line: key: what", likewise.
  std::string to_string() const;

  bool operator==(const ConfigError&) const = default;
};

/// `text` with control characters and bytes that are not UTF-8 as \xNN, cut after `limit` bytes
/// ("..." then says so): for quoting untrusted text in an error or a log line.
std::string printable(std::string_view text, std::size_t limit = 80);

}  // namespace sallyport::gateway
