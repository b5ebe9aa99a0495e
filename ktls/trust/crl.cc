#include "ktls/trust/crl.h"

#include <openssl/x509v3.h>

#include <ctime>
#include <utility>

#include "ktls/trust/x509_facts.h"

namespace sallyport::ktls {
namespace {

// RFC 5280 5.1.2.4 allows fewer forms of a time than ASN1_TIME_to_tm(3) reads.
bool is_time(const ASN1_TIME* time) {
  std::time_t any = 0;
  const bool good = time != nullptr && X509_cmp_time(time, &any) != 0;
  (void)OpensslError::drain();
  return good;
}

}  // namespace

std::expected<Crl, std::string> Crl::make(X509CrlPtr crl) {
  auto scope = read_crl_scope(crl.get());
  if (!scope) return std::unexpected(std::move(scope.error()));
  const ASN1_TIME* const last = X509_CRL_get0_lastUpdate(crl.get());
  const ASN1_TIME* const next = X509_CRL_get0_nextUpdate(crl.get());
  if (!is_time(last)) return std::unexpected("thisUpdate cannot be decoded");
  if (next != nullptr && !is_time(next)) return std::unexpected("nextUpdate cannot be decoded");

  Crl made;
  made.issuer_ = name_hash(X509_CRL_get_issuer(crl.get()));
  made.scope_ = *std::move(scope);
  made.number_ = CrlNumber::of(crl.get());
  made.this_update_ = to_time(last);
  if (next != nullptr) made.next_update_ = to_time(next);
  made.crl_ = std::move(crl);
  // OpenSSL sorts the list at the first look-up: do it now, before threads share the list.
  const Asn1IntegerPtr zero(ASN1_INTEGER_new());
  (void)made.has_entry(zero.get());
  return made;
}

std::size_t Crl::entries() const noexcept {
  const STACK_OF(X509_REVOKED)* entries = X509_CRL_get_REVOKED(crl_.get());
  return entries == nullptr ? 0 : static_cast<std::size_t>(sk_X509_REVOKED_num(entries));
}

bool Crl::is_signed_by(EVP_PKEY* key) const {
  const bool good = key != nullptr && X509_CRL_verify(crl_.get(), key) == 1;
  (void)OpensslError::drain();
  return good;
}

bool Crl::names_key_of(X509* issuer) const {
  const OpensslPtr<AUTHORITY_KEYID, AUTHORITY_KEYID_free> named(static_cast<AUTHORITY_KEYID*>(
      X509_CRL_get_ext_d2i(crl_.get(), NID_authority_key_identifier, nullptr, nullptr)));
  (void)OpensslError::drain();
  const ASN1_OCTET_STRING* const own = X509_get0_subject_key_id(issuer);
  return named && named->keyid != nullptr && own != nullptr &&
         ASN1_OCTET_STRING_cmp(named->keyid, own) == 0;
}

bool Crl::has_entry(const ASN1_INTEGER* serial) const noexcept {
  X509_REVOKED* entry = nullptr;
  return X509_CRL_get0_by_serial(crl_.get(), &entry, serial) != 0;
}

}  // namespace sallyport::ktls
