#pragma once

#include <cstddef>
#include <optional>
#include <span>

namespace sallyport::ktls {

/// One element of DER (X.690 8.1); the content lies in the bytes that it was taken from.
struct DerElement {
  int tag = 0;             ///< V_ASN1_SEQUENCE, ... if `universal`
  bool universal = false;  ///< the class of the tag
  std::span<const std::byte> content;
};

/// The first element of `der`, which then begins behind it. Nothing if it is cut off, or of the
/// indefinite length that BER allows; `der` is then as it was.
std::optional<DerElement> take_element(std::span<const std::byte>& der);

}  // namespace sallyport::ktls
