#include "ktls/records/typed_record.h"

#include "ktls/records/kernel_tls_options.h"

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

TypedRecordRoom::TypedRecordRoom(std::span<std::byte> content) noexcept
    : span_{content.data(), content.size()} {
  message_.msg_iov = &span_;
  message_.msg_iovlen = 1;
  message_.msg_control = control_;
  message_.msg_controllen = sizeof control_;
}

std::optional<ContentType> TypedRecordRoom::type() const noexcept {
  const cmsghdr* const header = CMSG_FIRSTHDR(&message_);
  if (header == nullptr || header->cmsg_level != SOL_TLS ||
      header->cmsg_type != TLS_GET_RECORD_TYPE) {
    return std::nullopt;
  }
  return static_cast<ContentType>(*CMSG_DATA(header));
}

}  // namespace sallyport::ktls
