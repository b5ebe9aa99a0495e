#include "ktls/records/record.h"

namespace sallyport::ktls {

RecordHeader RecordHeader::parse(std::span<const std::byte, kRecordHeaderSize> bytes) noexcept {
  return {static_cast<ContentType>(bytes[0]),
          static_cast<std::uint16_t>(std::to_integer<unsigned>(bytes[3]) << 8 |
                                     std::to_integer<unsigned>(bytes[4]))};
}

std::array<std::byte, kRecordHeaderSize> RecordHeader::serialise() const noexcept {
  return {static_cast<std::byte>(type), std::byte{3}, std::byte{3},
          static_cast<std::byte>(length >> 8), static_cast<std::byte>(length & 0xff)};
}

}  // namespace sallyport::ktls
