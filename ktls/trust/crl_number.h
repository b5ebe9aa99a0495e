#pragma once

#include <openssl/types.h>

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sallyport::ktls {

/// The number of a CRL (RFC 5280 5.2.3), of any length. A value, ordered as the number is.
class CrlNumber {
 public:
  /// Nothing if the list has none, or one that is negative or cannot be decoded.
  static std::optional<CrlNumber> of(const X509_CRL* crl);

  std::strong_ordering operator<=>(const CrlNumber& other) const;
  bool operator==(const CrlNumber&) const = default;

  [[nodiscard]] std::string to_string() const;  ///< hexadecimal, as `openssl crl` prints it

 private:
  std::vector<std::uint8_t> digits_;  // big endian, without leading zeros
};

}  // namespace sallyport::ktls
