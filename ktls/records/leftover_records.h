#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>

#include "iouring/block_pool.h"
#include "ktls/keys/traffic_secret.h"
#include "ktls/records/record_error.h"
#include "ktls/records/record_layer.h"
#include "ktls/records/record_protection.h"

namespace sallyport::ktls {

/// Ciphertext that userspace had read ahead when the kernel took over. Its records, the last one
/// completed if it is cut, are opened here, one at a time. No IO. Holds a block.
class LeftoverRecords {
 public:
  /// `bytes` begin with a record and are copied; at most a block. The receive direction of `state`
  /// goes on here.
  LeftoverRecords(const RecordPools& pools, const SessionState& state,
                  std::span<const std::byte> bytes);

  /// The bytes that are not opened yet.
  std::span<std::byte> unopened() const noexcept {
    return block_.bytes().subspan(begin_, end_ - begin_);
  }
  /// Room for the missing bytes of the next record and not a byte more, for those of its header
  /// first; empty if it is whole. The error is of a header that no record can have. Not to be
  /// called once everything is opened.
  std::expected<std::span<std::byte>, RecordError> room() noexcept;
  /// The first `bytes` of room() were filled.
  void filled(std::size_t bytes) noexcept { end_ += static_cast<std::uint32_t>(bytes); }
  /// Opens the next record, which is whole. As RecordOpener::open(); the content is good until the
  /// next call.
  std::expected<OpenedRecord, RecordError> open() noexcept;
  /// Right after a KeyUpdate was opened.
  void next_generation() noexcept { opener_.next_generation(); }

  /// As of the records opened.
  DirectionState export_state() const { return opener_.export_state(); }

 private:
  std::expected<std::size_t, RecordError> wanted() const noexcept;

  RecordOpener opener_;
  iouring::Block block_;
  std::uint32_t begin_ = 0;
  std::uint32_t end_;
};

}  // namespace sallyport::ktls
