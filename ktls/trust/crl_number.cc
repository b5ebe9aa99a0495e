#include "ktls/trust/crl_number.h"

#include <openssl/x509v3.h>

#include <algorithm>

#include "ktls/base/hex.h"
#include "ktls/base/openssl_handles.h"

namespace sallyport::ktls {

std::optional<CrlNumber> CrlNumber::of(const X509_CRL* crl) {
  const Asn1IntegerPtr number(
      static_cast<ASN1_INTEGER*>(X509_CRL_get_ext_d2i(crl, NID_crl_number, nullptr, nullptr)));
  (void)OpensslError::drain();
  if (!number || ASN1_STRING_type(number.get()) == V_ASN1_NEG_INTEGER) return std::nullopt;
  const unsigned char* const bytes = ASN1_STRING_get0_data(number.get());
  CrlNumber made;
  made.digits_.assign(bytes, bytes + ASN1_STRING_length(number.get()));
  const auto first =
      std::ranges::find_if(made.digits_, [](std::uint8_t each) { return each != 0; });
  made.digits_.erase(made.digits_.begin(), first);
  return made;
}

std::strong_ordering CrlNumber::operator<=>(const CrlNumber& other) const {
  if (const auto longer = digits_.size() <=> other.digits_.size(); longer != 0) return longer;
  return digits_ <=> other.digits_;
}

std::string CrlNumber::to_string() const {
  return digits_.empty() ? "00" : encode_hex(digits_, HexCase::kUpper);
}

}  // namespace sallyport::ktls
