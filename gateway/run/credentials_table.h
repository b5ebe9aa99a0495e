// The credentials of the flags, and those of the files that the policy file names.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gateway/policy/policy.h"
#include "gateway/run/fingerprint.h"
#include "gateway/run/options.h"
#include "ktls/handshake/server_context.h"
#include "ktls/trust/credentials.h"

namespace sallyport::gateway {

/// The files that credentials are made of, but for ticket secrets: those of the flags, where
/// `named` says nothing else.
[[nodiscard]] ktls::CredentialFiles credential_files(const Options& options,
                                                     const RouteFiles& named);
/// The same as a list, of files and directories.
[[nodiscard]] std::vector<std::string> sources_of(const ktls::CredentialFiles& files);

/// Credentials for each RouteFiles of a policy, at their last good state. A value.
class CredentialsTable {
 public:
  using Pointer = std::shared_ptr<const ktls::Credentials>;

  struct Entry {
    RouteFiles named;
    Fingerprint files{};  ///< that `credentials` were made of
    Pointer credentials;
  };

  /// The same credentials for the same files.
  bool operator==(const CredentialsTable& other) const;

  /// Null: none.
  [[nodiscard]] const Entry* find(const RouteFiles& named) const;
  /// Those of the flags alone; null: none.
  [[nodiscard]] const Pointer& of_flags() const;
  /// Replaces those of the same files.
  void set(Entry entry);
  /// Whose trust is of the same files; null: none.
  [[nodiscard]] const Entry* find_trust(const RouteFiles& named) const;
  /// Whose trust that of `named` renews: of the same files, else of the same name. Null: none.
  [[nodiscard]] const Entry* find_before(const RouteFiles& named) const;
  /// Drops what `policy` does not name.
  void keep_only(const Policy& policy);

  [[nodiscard]] const std::vector<Entry>& entries() const { return entries_; }

 private:
  std::vector<Entry> entries_;
};

}  // namespace sallyport::gateway
