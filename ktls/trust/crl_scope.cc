#include "ktls/trust/crl_scope.h"

#include <openssl/x509v3.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "ktls/base/openssl_handles.h"
#include "ktls/trust/x509_facts.h"

namespace sallyport::ktls {
namespace {

using IssuingPointPtr = OpensslPtr<ISSUING_DIST_POINT, ISSUING_DIST_POINT_free>;
using PointsPtr = OpensslPtr<CRL_DIST_POINTS, CRL_DIST_POINTS_free>;
using EnumeratedPtr = OpensslPtr<ASN1_ENUMERATED, ASN1_ENUMERATED_free>;

// A certificate lists one or two; what is more is ignored, which can only make fewer CRLs match.
constexpr std::size_t kMaxPoints = 8;

// OpenSSL's short name, or the numbers of a type that it does not know.
std::string extension_name(const X509_EXTENSION* extension) {
  const ASN1_OBJECT* type = X509_EXTENSION_get_object(const_cast<X509_EXTENSION*>(extension));
  const int nid = OBJ_obj2nid(type);
  if (nid != NID_undef) return OBJ_nid2sn(nid);
  char numbers[128];
  (void)OBJ_obj2txt(numbers, sizeof numbers, type, 1);
  return numbers;
}

// Extensions that may be critical: their meaning is known here.
bool may_be_critical(int nid) {
  return nid == NID_issuing_distribution_point || nid == NID_authority_key_identifier;
}

NameHash hash_of_name(GENERAL_NAME* name) {
  unsigned char* der = nullptr;
  const int size = i2d_GENERAL_NAME(name, &der);
  if (size < 0) {
    (void)OpensslError::drain();
    return {};
  }
  const NameHash result = name_hash(std::as_bytes(std::span(der, static_cast<std::size_t>(size))));
  OPENSSL_free(der);
  return result;
}

// Stands for a point whose names are not compared; equals no name's hash.
constexpr NameHash kOther{};

void add_points(std::vector<NameHash>& points, const DIST_POINT_NAME* name) {
  constexpr int kFullName = 0;
  if (name == nullptr || name->type != kFullName || sk_GENERAL_NAME_num(name->name.fullname) < 1) {
    points.push_back(kOther);  // relative to the issuer, which no CA is known to use
    return;
  }
  for (int i = 0; i < sk_GENERAL_NAME_num(name->name.fullname); ++i)
    points.push_back(hash_of_name(sk_GENERAL_NAME_value(name->name.fullname, i)));
}

std::expected<CrlScope, std::string> scope_of(const ISSUING_DIST_POINT& point) {
  const std::string name = "issuingDistributionPoint";
  if (point.onlysomereasons != nullptr)
    return std::unexpected(name + " with onlySomeReasons is not supported");
  if (point.indirectCRL > 0) return std::unexpected(name + " with indirectCRL is not supported");
  if (point.onlyattr > 0)
    return std::unexpected(name + " with onlyContainsAttributeCerts is not supported");
  if (point.onlyuser > 0 && point.onlyCA > 0)
    return std::unexpected(name + " with onlyContainsUserCerts and onlyContainsCACerts");
  if (point.onlyuser <= 0 && point.onlyCA <= 0 && point.distpoint == nullptr)
    return std::unexpected(name + " without any content");

  CrlScope scope{
      .user_certificates = point.onlyCA <= 0, .ca_certificates = point.onlyuser <= 0, .points = {}};
  if (point.distpoint != nullptr) add_points(scope.points, point.distpoint);
  return scope;
}

// Why an entry cannot be honoured; nothing if it can.
std::optional<std::string> entry_error(X509_REVOKED* entry) {
  if (X509_REVOKED_get_ext_count(entry) == 0) return std::nullopt;
  if (X509_REVOKED_get_ext_by_NID(entry, NID_certificate_issuer, -1) >= 0)
    return "certificateIssuer (an indirect CRL) is not supported";
  int answer = 0;
  const EnumeratedPtr reason(static_cast<ASN1_ENUMERATED*>(
      X509_REVOKED_get_ext_d2i(entry, NID_crl_reason, &answer, nullptr)));
  if (!reason) {
    if (auto why = why_not_decoded(answer, "reasonCode")) return why;
  } else if (ASN1_ENUMERATED_get(reason.get()) == CRL_REASON_REMOVE_FROM_CRL) {
    return "reasonCode removeFromCRL, which only delta CRLs have";
  }
  for (int i = 0; i < X509_REVOKED_get_ext_count(entry); ++i) {
    const X509_EXTENSION* extension = X509_REVOKED_get_ext(entry, i);
    if (X509_EXTENSION_get_critical(extension) != 0)
      return "critical extension " + extension_name(extension) + " is not supported";
  }
  return std::nullopt;
}

// What OpenSSL leaves undecoded it does not miss afterwards: a CRL whose issuingDistributionPoint
// is broken it would take for one without.
std::optional<std::string> list_extension_error(X509_CRL* crl) {
  if (X509_CRL_get_ext_by_NID(crl, NID_delta_crl, -1) >= 0)
    return "delta CRLs are not supported by this version";
  int answer = 0;
  const OpensslPtr<AUTHORITY_KEYID, AUTHORITY_KEYID_free> key(static_cast<AUTHORITY_KEYID*>(
      X509_CRL_get_ext_d2i(crl, NID_authority_key_identifier, &answer, nullptr)));
  if (!key) {
    if (auto why = why_not_decoded(answer, "authorityKeyIdentifier")) return why;
  }
  const Asn1IntegerPtr number(
      static_cast<ASN1_INTEGER*>(X509_CRL_get_ext_d2i(crl, NID_crl_number, &answer, nullptr)));
  if (!number) {
    if (auto why = why_not_decoded(answer, "cRLNumber")) return why;
  }
  for (int i = 0; i < X509_CRL_get_ext_count(crl); ++i) {
    const X509_EXTENSION* extension = X509_CRL_get_ext(crl, i);
    if (X509_EXTENSION_get_critical(extension) == 0) continue;
    const int nid = OBJ_obj2nid(X509_EXTENSION_get_object(const_cast<X509_EXTENSION*>(extension)));
    if (!may_be_critical(nid))
      return "critical extension " + extension_name(extension) + " is not supported";
  }
  return std::nullopt;
}

}  // namespace

bool CrlScope::includes(const PeerTrust::Link& link) const noexcept {
  if (!(link.ca ? ca_certificates : user_certificates)) return false;
  if (points.empty() || link.crl_points.empty()) return true;
  return std::ranges::any_of(link.crl_points, [this](const NameHash& point) {
    return point != kOther && std::ranges::find(points, point) != points.end();
  });
}

std::expected<CrlScope, std::string> read_crl_scope(X509_CRL* crl) {
  if (auto why = list_extension_error(crl)) return std::unexpected(*std::move(why));
  const STACK_OF(X509_REVOKED)* const entries = X509_CRL_get_REVOKED(crl);
  for (int i = 0; i < sk_X509_REVOKED_num(entries); ++i) {  // -1 for none
    X509_REVOKED* const entry = sk_X509_REVOKED_value(entries, i);
    if (auto why = entry_error(entry))
      return std::unexpected("entry " + serial_text(X509_REVOKED_get0_serialNumber(entry)) + ": " +
                             *why);
  }

  int answer = 0;
  const IssuingPointPtr point(static_cast<ISSUING_DIST_POINT*>(
      X509_CRL_get_ext_d2i(crl, NID_issuing_distribution_point, &answer, nullptr)));
  if (point) return scope_of(*point);
  if (auto why = why_not_decoded(answer, "issuingDistributionPoint"))
    return std::unexpected(*std::move(why));
  return CrlScope{};
}

std::vector<NameHash> crl_points(const X509* certificate) {
  int answer = 0;
  const PointsPtr found(static_cast<CRL_DIST_POINTS*>(
      X509_get_ext_d2i(certificate, NID_crl_distribution_points, &answer, nullptr)));
  std::vector<NameHash> points;
  if (!found) {
    if (why_not_decoded(answer, "cRLDistributionPoints")) points.push_back(kOther);
    return points;
  }
  for (int i = 0; i < sk_DIST_POINT_num(found.get()); ++i) {
    const DIST_POINT* point = sk_DIST_POINT_value(found.get(), i);
    // A point for some reasons, or of another issuer's list, never says all about a certificate.
    const bool whole = point->reasons == nullptr && point->CRLissuer == nullptr;
    add_points(points, whole ? point->distpoint : nullptr);
  }
  if (points.size() > kMaxPoints) points.resize(kMaxPoints);
  return points;
}

}  // namespace sallyport::ktls
