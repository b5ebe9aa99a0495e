#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstddef>
#include <optional>
#include <span>

#include "ktls/records/record.h"

namespace sallyport::ktls {

// Records of a type other than application data on a socket whose records the kernel makes: only
// sendmsg(2) and recvmsg(2) carry the type, in a control message.

/// What sendmsg(2) takes to make one record (TLS_SET_RECORD_TYPE).
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

/// What recvmsg(2) fills with one record (TLS_GET_RECORD_TYPE).
class TypedRecordRoom {
 public:
  /// `content` is where it goes, and must outlive this.
  explicit TypedRecordRoom(std::span<std::byte> content) noexcept;
  TypedRecordRoom(const TypedRecordRoom&) = delete;
  TypedRecordRoom& operator=(const TypedRecordRoom&) = delete;

  msghdr& message() noexcept { return message_; }
  /// Of the record that was received; nothing if the kernel said none.
  std::optional<ContentType> type() const noexcept;

 private:
  alignas(cmsghdr) std::byte control_[CMSG_SPACE(1)] = {};
  iovec span_;
  msghdr message_{};
};

}  // namespace sallyport::ktls
