#include "ktls/records/typed_record.h"

#include <linux/tls.h>

#ifndef SOL_TLS
#define SOL_TLS 282  // since glibc 2.40
#endif

namespace sallyport::ktls {

TypedRecord::TypedRecord(ContentType type, std::span<const std::byte> content) noexcept
    : span_{const_cast<std::byte*>(content.data()), content.size()} {
  message_.msg_iov = &span_;
  message_.msg_iovlen = 1;
  message_.msg_control = control_;
  message_.msg_controllen = sizeof control_;
  cmsghdr* const header = CMSG_FIRSTHDR(&message_);
  header->cmsg_level = SOL_TLS;
  header->cmsg_type = TLS_SET_RECORD_TYPE;
  header->cmsg_len = CMSG_LEN(1);
  *CMSG_DATA(header) = static_cast<unsigned char>(type);
}

}  // namespace sallyport::ktls
