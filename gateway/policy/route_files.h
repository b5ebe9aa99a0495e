// What the policy file names beside the files of the flags, for some of its routes.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace sallyport::gateway {

/// An entry of "credentials". Equal paths: a bundle of both.
struct NamedCredentials {
  std::string name;
  std::string cert, key;
  bool operator==(const NamedCredentials&) const = default;
};

/// An entry of "trust".
struct NamedTrust {
  std::string name;
  std::vector<std::string> ca;              ///< files or directories, at least one
  std::vector<std::string> crls;            ///< the same; none: nothing is revoked
  std::optional<std::string> trust_domain;  ///< none: unscoped
  bool operator==(const NamedTrust&) const = default;
};

/// What a route presents and whom it trusts, as files.
struct RouteFiles {
  std::vector<NamedCredentials> credentials;  ///< none: those of the flags
  std::optional<NamedTrust> trust;            ///< none: that of the flags
  bool operator==(const RouteFiles&) const = default;
};

}  // namespace sallyport::gateway
