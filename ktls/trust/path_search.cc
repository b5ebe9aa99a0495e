#include "ktls/trust/path_search.h"

#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "ktls/base/openssl_handles.h"
#include "ktls/trust/verify_settings.h"

namespace sallyport::ktls {
namespace {

// Real exchanges of roots have two or three candidates for an issuer, and so some ten paths. The
// limits are for clients that send certificates of one name only to have them tried.
constexpr int kMaxSignatures = 24;
constexpr int kMaxSteps = 64;
constexpr int kMaxPaths = 8;

class PathSearch {
 public:
  PathSearch(X509_STORE_CTX* context, const std::function<bool(CertificatePath)>& take)
      : context_(context),
        take_(take),
        all_anchor_((X509_VERIFY_PARAM_get_flags(X509_STORE_CTX_get0_param(context)) &
                     X509_V_FLAG_PARTIAL_CHAIN) != 0),
        path_{X509_STORE_CTX_get0_cert(context)} {}

  bool run() { return (all_anchor_ && is_trusted(path_.front()) && take_(path_)) || go_on(); }

 private:
  struct Link {
    const X509* certificate;
    const X509* issuer;
    bool good;
  };

  bool is_trusted(const X509* certificate) const {
    const X509StackPtr namesakes(
        X509_STORE_CTX_get1_certs(context_, X509_get_subject_name(certificate)));
    for (int i = 0; i < sk_X509_num(namesakes.get()); ++i)
      if (X509_cmp(sk_X509_value(namesakes.get(), i), certificate) == 0) return true;
    return false;
  }

  // Goes on from the last certificate of the path; true once a path was taken.
  bool go_on() {
    X509* const last = path_.back();
    const X509StackPtr trusted(
        X509_STORE_CTX_get1_certs(context_, X509_get_issuer_name(last)));  // null: none
    const STACK_OF(X509)* const sent = X509_STORE_CTX_get0_untrusted(context_);
    for (int i = 0; i < sk_X509_num(trusted.get()); ++i) {
      X509* const issuer = sk_X509_value(trusted.get(), i);
      const bool is_root = X509_self_signed(issuer, 0) == 1;
      if ((is_root || all_anchor_) && arrive(issuer)) return true;
      if (!is_root && pass(issuer)) return true;
    }
    for (int i = 0; i < sk_X509_num(sent); ++i)
      if (pass(sk_X509_value(sent, i))) return true;
    return false;
  }

  // By names, key identifiers and key usage.
  static bool may_have_issued(X509* issuer, X509* certificate) {
    return X509_check_issued(issuer, certificate) == X509_V_OK;
  }

  bool arrive(X509* anchor) {
    if (!may_have_issued(anchor, path_.back())) return false;
    path_.push_back(anchor);
    const bool taken = signatures_are_good() && ++paths_ <= kMaxPaths && take_(path_);
    path_.pop_back();
    return taken;
  }

  bool pass(X509* intermediate) {
    if (path_.size() > static_cast<std::size_t>(kMaxIntermediates)) return false;
    const auto is_same = [&](const X509* other) { return X509_cmp(intermediate, other) == 0; };
    if (!may_have_issued(intermediate, path_.back()) || X509_self_signed(intermediate, 0) == 1 ||
        std::ranges::any_of(path_, is_same) || ++steps_ > kMaxSteps)
      return false;
    path_.push_back(intermediate);
    const bool taken = go_on();
    path_.pop_back();
    return taken;
  }

  // From the anchor downwards, so that no key is used that has not been proven: one of a stranger's
  // choice may take a hundred times as long as that of an anchor.
  bool signatures_are_good() {
    for (std::size_t i = path_.size() - 1; i > 0; --i)
      if (!is_signed_by(path_[i - 1], path_[i])) return false;
    return true;
  }

  bool is_signed_by(X509* certificate, X509* issuer) {
    const auto known = std::ranges::find_if(links_, [&](const Link& link) {
      return link.certificate == certificate && link.issuer == issuer;
    });
    if (known != links_.end()) return known->good;
    if (links_.size() == static_cast<std::size_t>(kMaxSignatures)) return false;
    EVP_PKEY* const key = X509_get0_pubkey(issuer);
    const bool good = key != nullptr && X509_verify(certificate, key) == 1;
    links_.push_back({.certificate = certificate, .issuer = issuer, .good = good});
    return good;
  }

  X509_STORE_CTX* const context_;
  const std::function<bool(CertificatePath)>& take_;
  const bool all_anchor_;
  std::vector<X509*> path_;
  std::vector<Link> links_;
  int steps_ = 0;
  int paths_ = 0;
};

}  // namespace

void search_paths(X509_STORE_CTX* context, const std::function<bool(CertificatePath)>& take) {
  (void)PathSearch(context, take).run();
  (void)OpensslError::drain();
}

}  // namespace sallyport::ktls
