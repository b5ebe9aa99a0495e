#include "ktls/base/der.h"

#include <openssl/asn1.h>

#include "ktls/base/openssl_handles.h"

namespace sallyport::ktls {

std::optional<DerElement> take_element(std::span<const std::byte>& der) {
  const auto* const begin = reinterpret_cast<const unsigned char*>(der.data());
  const unsigned char* at = begin;
  long size = 0;
  int tag = 0;
  int tag_class = 0;
  constexpr int kBad = 0x80;
  constexpr int kIndefinite = 0x01;
  const int result = ASN1_get_object(&at, &size, &tag, &tag_class, static_cast<long>(der.size()));
  if ((result & (kBad | kIndefinite)) != 0) {
    (void)OpensslError::drain();
    return std::nullopt;
  }
  const auto header = static_cast<std::size_t>(at - begin);
  const DerElement element{.tag = tag,
                           .universal = tag_class == V_ASN1_UNIVERSAL,
                           .content = der.subspan(header, static_cast<std::size_t>(size))};
  der = der.subspan(header + element.content.size());
  return element;
}

}  // namespace sallyport::ktls
