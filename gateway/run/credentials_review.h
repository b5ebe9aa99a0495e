// Credentials that load and would still refuse clients, now or soon.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include "gateway/policy/policy.h"
#include "ktls/trust/credentials.h"

namespace sallyport::gateway {

struct Finding {
  enum class Effect {
    kNoneYet,      ///< worth a warning
    kRefusesSome,  ///< some clients are refused, or refuse us
    kRefusesAll,   ///< no connection can succeed: an error of the configuration
  };
  Effect effect = Effect::kNoneYet;
  std::string text;        ///< the same at each look, as long as the finding lasts
  std::string place = {};  ///< in a file, "file:line: key"; moves when the file is written anew

  /// The text, behind its place if there is one.
  [[nodiscard]] std::string to_string() const;
  bool operator==(const Finding&) const = default;
};

/// Adds those of `more` that are not in `all` yet.
void add_new(std::vector<Finding>& all, std::vector<Finding> more);

/// Whom our own certificates are for.
struct PresentedTo {
  bool clients = true;
  bool backends = false;
};

/// What is wrong with the certificates and CRLs by themselves at `now`: dates, the purpose of our
/// own certificate and the intermediates behind it, issuers without a CRL.
[[nodiscard]] std::vector<Finding> review_credentials(const ktls::Credentials& credentials,
                                                      std::chrono::sys_seconds now,
                                                      PresentedTo whom = {});

/// Whether the trust bundles vouch for what the rules of their routes let in, and clients are told
/// of their CAs. `credentials` are those of policy.files()[files]. Does not change with time.
[[nodiscard]] std::vector<Finding> review_trust(const ktls::Credentials& credentials,
                                                const Policy& policy, std::size_t files = 0);

/// Whether our certificates have the server names that their routes take. Does not change with
/// time.
[[nodiscard]] std::vector<Finding> review_names(const ktls::Credentials& credentials,
                                                const Policy& policy, std::size_t files = 0);

/// The texts of the findings with this effect, joined by "; ". Empty: none.
[[nodiscard]] std::string join(const std::vector<Finding>& findings, Finding::Effect effect);

}  // namespace sallyport::gateway
