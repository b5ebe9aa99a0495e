// "credentials" and "trust" of the policy file, and the routes' choice among them.
#pragma once

#include <expected>
#include <set>
#include <string>
#include <vector>

#include "gateway/policy/config_error.h"
#include "gateway/policy/json_document.h"
#include "gateway/policy/json_reader.h"
#include "gateway/policy/route_files.h"

namespace sallyport::gateway {

/// The names that the file defines. Relative paths in it are relative to the file.
class NamedFiles {
 public:
  /// `root` is the file's top level; what it does not have defines nothing.
  static std::expected<NamedFiles, ConfigError> read(const JsonReader& reader,
                                                     const JsonValue& root);

  /// The "credentials" of a route, a name or a list of names, added to `files`.
  std::expected<void, ConfigError> choose_credentials(const JsonReader& reader, RouteFiles& files,
                                                      const JsonValue& value,
                                                      const std::string& key);
  /// Its "trust", a name.
  std::expected<void, ConfigError> choose_trust(const JsonReader& reader, RouteFiles& files,
                                                const JsonValue& value, const std::string& key);

  /// After all routes: why a definition is no use; nothing: each is used.
  [[nodiscard]] std::expected<void, ConfigError> check_use(const JsonReader& reader) const;

 private:
  template <class Files>
  struct Definition {
    Files files;
    unsigned line = 0;
    bool used = false;
  };
  std::expected<void, ConfigError> choose_one(const JsonReader& reader, RouteFiles& files,
                                              const JsonValue& value, const std::string& key);

  std::vector<Definition<NamedCredentials>> credentials_;
  std::vector<Definition<NamedTrust>> trust_;
};

}  // namespace sallyport::gateway
