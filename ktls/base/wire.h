#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "ktls/base/big_endian.h"

namespace sallyport::ktls {

/// The same bytes as text.
inline std::string_view as_text(std::span<const std::byte> bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Writes big-endian integers, and texts behind a length of two bytes: the encoding inside tickets
/// and under digests.
class WireWriter {
 public:
  WireWriter() { out_.reserve(kUsualSize); }

  void u8(std::uint8_t value) { out_.push_back(std::byte{value}); }
  /// More than 65535 is a broken invariant and aborts.
  void u16(std::size_t value) {
    if (value > 0xffff) std::abort();
    number(value, 2);
  }
  void u32(std::uint32_t value) { number(value, 4); }
  void u64(std::uint64_t value) { number(value, 8); }
  void raw(std::span<const std::byte> bytes) {
    out_.insert(out_.end(), bytes.begin(), bytes.end());
  }
  void text(std::string_view value) {
    u16(value.size());
    raw(std::as_bytes(std::span(value)));
  }

  std::span<const std::byte> bytes() const noexcept { return out_; }
  std::vector<std::byte> take() && { return std::move(out_); }

 private:
  void number(std::uint64_t value, std::size_t size) {
    const auto bytes = big_endian(value);
    raw(std::span(bytes).last(size));
  }

  // Of a ticket.
  static constexpr std::size_t kUsualSize = 512;

  std::vector<std::byte> out_;
};

/// Reads what WireWriter wrote, from bytes that may be anything. Reading past the end gives zeros,
/// and good() stays false from then on.
class WireReader {
 public:
  explicit WireReader(std::span<const std::byte> bytes) noexcept : rest_(bytes) {}

  std::uint8_t u8() noexcept { return static_cast<std::uint8_t>(number(1)); }
  std::uint16_t u16() noexcept { return static_cast<std::uint16_t>(number(2)); }
  std::uint64_t u64() noexcept { return number(8); }
  /// The next bytes, or nothing.
  std::span<const std::byte> take(std::size_t size) noexcept {
    if (size > rest_.size()) {
      good_ = false;
      rest_ = {};
      return {};
    }
    const auto result = rest_.first(size);
    rest_ = rest_.subspan(size);
    return result;
  }
  void raw(std::span<std::byte> out) noexcept {
    const auto bytes = take(out.size());
    if (!bytes.empty()) std::memcpy(out.data(), bytes.data(), bytes.size());
  }
  /// Lies in the bytes given to the constructor.
  std::string_view text() noexcept { return as_text(take(u16())); }

  bool good() const noexcept { return good_; }
  bool at_end() const noexcept { return good_ && rest_.empty(); }

 private:
  std::uint64_t number(std::size_t size) noexcept { return from_big_endian(take(size)); }

  std::span<const std::byte> rest_;
  bool good_ = true;
};

}  // namespace sallyport::ktls
