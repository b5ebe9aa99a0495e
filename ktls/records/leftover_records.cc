#include "ktls/records/leftover_records.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace sallyport::ktls {

LeftoverRecords::LeftoverRecords(const RecordPools& pools, const SessionState& state,
                                 std::span<const std::byte> bytes)
    : opener_(pools.contexts, state.suite, state.rx, state.version),
      block_(pools.blocks.acquire()),
      end_(static_cast<std::uint32_t>(bytes.size())) {
  std::ranges::copy(bytes, block_.data());
}

/// Bytes of the record at the front, or of its header while that is cut.
std::expected<std::size_t, RecordError> LeftoverRecords::wanted() const noexcept {
  const std::span<std::byte> bytes = unopened();
  if (bytes.size() < kRecordHeaderSize) return kRecordHeaderSize;
  const auto header = opener_.check_header(bytes.first<kRecordHeaderSize>());
  if (!header) return std::unexpected(header.error());
  return kRecordHeaderSize + header->length;
}

std::expected<std::span<std::byte>, RecordError> LeftoverRecords::room() noexcept {
  const auto size = wanted();
  if (!size) return std::unexpected(size.error());
  if (unopened().size() >= *size) return std::span<std::byte>{};
  std::memmove(block_.data(), block_.data() + begin_, end_ - begin_);
  end_ -= std::exchange(begin_, 0U);
  return block_.bytes().subspan(end_, *size - end_);
}

std::expected<OpenedRecord, RecordError> LeftoverRecords::open() noexcept {
  const auto size = wanted();
  if (!size) return std::unexpected(size.error());
  const std::span<std::byte> record = unopened().first(*size);
  begin_ += static_cast<std::uint32_t>(*size);
  return opener_.open(record);
}

}  // namespace sallyport::ktls
