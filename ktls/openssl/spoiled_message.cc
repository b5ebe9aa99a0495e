#include "ktls/openssl/spoiled_message.h"

#include "ktls/records/record.h"

namespace sallyport::ktls {

void spoil_certificate_message(const void* message) noexcept {
  auto* const bytes = static_cast<unsigned char*>(const_cast<void*>(message));
  bytes[kHandshakeHeaderSize] = 0xff;
}

}  // namespace sallyport::ktls
