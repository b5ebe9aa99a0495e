#include "gateway/run/crl_rollback.h"

#include <algorithm>

#include "ktls/base/time_text.h"

namespace sallyport::gateway {
namespace {

using ktls::CrlFact;

bool speak_of_the_same(const CrlFact& one, const CrlFact& other) {
  const auto signed_other = [&other](const ktls::Sha256& key) {
    return std::ranges::find(other.signers, key) != other.signers.end();
  };
  // The key of an issuer that only clients send is not known here: by its name alone, then.
  const bool unknown = one.signers.empty() || other.signers.empty();
  return one.issuer_name == other.issuer_name && one.scope == other.scope &&
         (unknown || std::ranges::any_of(one.signers, signed_other));
}

bool is_older(const CrlFact& one, const CrlFact& other) {
  return one.number && other.number && *one.number < *other.number &&
         one.this_update < other.this_update;
}

std::string text(const CrlFact& list) {
  return "number " + list.number->to_string() + " of " + ktls::time_text(list.this_update);
}

}  // namespace

std::optional<std::string> crl_rollback(const ktls::Credentials& in_force,
                                        const ktls::Credentials& next) {
  for (const CrlFact& before : in_force.crls()) {
    const CrlFact* older = nullptr;
    bool replaced = false;
    for (const CrlFact& list : next.crls()) {
      if (!speak_of_the_same(list, before)) continue;
      if (is_older(list, before)) {
        older = &list;
      } else {
        replaced = true;
      }
    }
    if (older == nullptr || replaced) continue;
    return older->name + ": the list of " + older->issuer + ", " + text(*older) +
           ", is older than the one in force, " + text(before);
  }
  return std::nullopt;
}

}  // namespace sallyport::gateway
