#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstddef>
#include <span>

#include "ktls/records/record.h"

namespace sallyport::ktls {

/// What sendmsg(2) takes to make one record of a type other than application data on a socket whose
/// records the kernel makes (TLS_SET_RECORD_TYPE).
class TypedRecord {
 public:
  /// `content` must outlive this.
  TypedRecord(ContentType type, std::span<const std::byte> content) noexcept;
  TypedRecord(const TypedRecord&) = delete;
  TypedRecord& operator=(const TypedRecord&) = delete;

  const msghdr& message() const noexcept { return message_; }

 private:
  alignas(cmsghdr) std::byte control_[CMSG_SPACE(1)] = {};
  iovec span_;
  msghdr message_{};
};

}  // namespace sallyport::ktls
