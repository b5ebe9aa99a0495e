#include "ktls/trust/certificate_message.h"

#include <openssl/asn1.h>

#include <string_view>

#include "ktls/base/der.h"
#include "ktls/base/wire.h"
#include "ktls/records/record.h"
#include "ktls/trust/verify_settings.h"

namespace sallyport::ktls {
namespace {

using Bytes = std::span<const std::byte>;

// Leaf and anchor are not counted by kMaxIntermediates.
constexpr std::size_t kMostCertificates = kMaxIntermediates + 2;

// The algorithms whose parameters are a SEQUENCE in certificates: RSASSA-PSS
// (1.2.840.113549.1.1.10, RFC 4055 3.1) and DSA (1.2.840.10040.4.1, RFC 3279 2.3.2). All others
// have an object identifier, NULL or none.
constexpr std::string_view kRsaPss("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a", 9);
constexpr std::string_view kDsa("\x2a\x86\x48\xce\x38\x04\x01", 7);

std::optional<Bytes> take_sequence(Bytes& der) {
  const auto element = take_element(der);
  if (!element || !element->universal || element->tag != V_ASN1_SEQUENCE) return std::nullopt;
  return element->content;
}

// The AlgorithmIdentifier of the key (RFC 5280 4.1).
std::optional<Bytes> key_algorithm(Bytes certificate) {
  auto outer = take_sequence(certificate);
  if (!outer) return std::nullopt;
  auto signed_part = take_sequence(*outer);
  if (!signed_part) return std::nullopt;
  auto element = take_element(*signed_part);
  const bool has_version = element && !element->universal;
  if (has_version) element = take_element(*signed_part);  // the serial number
  // Signature algorithm, issuer, validity, subject.
  for (int i = 0; i < 4 && element; ++i) element = take_element(*signed_part);
  if (!element) return std::nullopt;
  auto key = take_sequence(*signed_part);
  if (!key) return std::nullopt;
  return take_sequence(*key);
}

}  // namespace

bool has_plain_key(std::span<const std::byte> certificate) {
  auto algorithm = key_algorithm(certificate);
  if (!algorithm) return false;
  const auto kind = take_element(*algorithm);
  if (!kind || !kind->universal || kind->tag != V_ASN1_OBJECT) return false;
  if (algorithm->empty()) return true;
  const auto parameters = take_element(*algorithm);
  if (!parameters || !parameters->universal) return false;
  if (parameters->tag == V_ASN1_OBJECT || parameters->tag == V_ASN1_NULL) return true;
  const std::string_view name = as_text(kind->content);
  return name == kRsaPss || name == kDsa;
}

std::optional<std::string> refuse_certificates(std::span<const std::byte> message,
                                               RecordVersion version) {
  WireReader in(message);
  in.take(kHandshakeHeaderSize);
  if (version == RecordVersion::kTls13) in.take(in.u8());  // the context
  const auto u24 = [&in] {
    const std::size_t high = in.u8();
    return high << 16 | in.u16();
  };
  (void)u24();  // the size of the list
  std::size_t count = 0;
  while (!in.at_end()) {
    const auto certificate = in.take(u24());
    if (!in.good()) return std::nullopt;
    if (++count > kMostCertificates)
      return "more than " + std::to_string(kMostCertificates) + " certificates";
    if (!has_plain_key(certificate))
      return "certificate " + std::to_string(count) +
             " has a key on a curve without a name, or is not DER";
    if (version == RecordVersion::kTls13) in.take(in.u16());  // extensions
    if (!in.good()) return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace sallyport::ktls
