#include "gateway/policy/quantity.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <span>
#include <system_error>

namespace sallyport::gateway {
namespace {

using std::chrono::milliseconds;

struct Unit {
  std::string_view suffix;
  std::uint64_t value;
};
constexpr std::array<Unit, 4> kDurations{
    // in milliseconds
    {{"ms", 1}, {"s", 1'000}, {"m", 60'000}, {"h", 3'600'000}}};
constexpr std::array<Unit, 4> kSizes{// in bytes
                                     {{"", 1},
                                      {"K", std::uint64_t{1} << 10},
                                      {"M", std::uint64_t{1} << 20},
                                      {"G", std::uint64_t{1} << 30}}};

// Ten years: no sum of such durations overflows a timer.
constexpr std::uint64_t kLongest = std::uint64_t{10} * 365 * 24 * 3'600'000;
constexpr std::uint64_t kLargest = std::uint64_t{1} << 40;

// A whole number with one of `units` behind it.
struct Quantity {
  std::uint64_t count = 0;
  bool too_large = false;  ///< more than `most` in all
  std::string_view suffix;
  const Unit* unit = nullptr;  ///< null: `suffix` is none of them
};
std::optional<Quantity> parse_quantity(std::string_view text, std::span<const Unit> units,
                                       std::uint64_t most) {
  Quantity result;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), result.count);
  if (error == std::errc::invalid_argument) return std::nullopt;
  result.suffix = {end, static_cast<std::size_t>(text.data() + text.size() - end)};
  const auto unit = std::ranges::find(units, result.suffix, &Unit::suffix);
  if (unit != units.end()) result.unit = &*unit;
  result.too_large = error == std::errc::result_out_of_range ||
                     (result.unit != nullptr && result.count > most / result.unit->value);
  return result;
}

}  // namespace

std::expected<milliseconds, std::string> parse_duration(std::string_view text) {
  const auto parsed = parse_quantity(text, kDurations, kLongest);
  const bool zero = parsed && !parsed->too_large && parsed->count == 0;
  if (zero && parsed->suffix.empty()) return milliseconds(0);
  if (parsed && parsed->suffix.empty())
    return std::unexpected(std::string("lacks a unit: ms, s, m or h"));
  if (!parsed || parsed->unit == nullptr)
    return std::unexpected(std::string("is not a duration such as 500ms, 10s, 5m, 1h or 0"));
  if (parsed->too_large)
    return std::unexpected(std::string("is longer than ten years; 0 means off"));
  return milliseconds(static_cast<std::int64_t>(parsed->count * parsed->unit->value));
}

std::expected<std::uint64_t, std::string> parse_size(std::string_view text) {
  const auto parsed = parse_quantity(text, kSizes, kLargest);
  if (!parsed || parsed->unit == nullptr)
    return std::unexpected(std::string("is not a size such as 1048576, 512K, 64M or 1G"));
  if (parsed->too_large) return std::unexpected(std::string("is larger than 1024G"));
  return parsed->count * parsed->unit->value;
}

}  // namespace sallyport::gateway
