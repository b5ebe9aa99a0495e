// Rendezvous hashing (highest random weight): which endpoint an identity has, without a table, and
// the same on every gateway that knows the same endpoints.
#pragma once

#include <cmath>
#include <cstdint>
#include <string_view>

namespace sallyport::gateway {

/// The first eight bytes of SHA-256, big endian: of an identity, or of what tells an endpoint.
[[nodiscard]] std::uint64_t rendezvous_hash(std::string_view text);

/// The finalizer of SplitMix64: each bit of `value` changes each bit of the result with a chance of
/// a half.
[[nodiscard]] constexpr std::uint64_t mix(std::uint64_t value) noexcept {
  value = (value ^ value >> 30U) * 0xbf58476d1ce4e5b9U;
  value = (value ^ value >> 27U) * 0x94d049bb133111ebU;
  return value ^ value >> 31U;
}

/// Evenly between 0 and 1, neither of them: 52 bits and a half, so that nothing is rounded.
[[nodiscard]] constexpr double unit_interval(std::uint64_t mixed) noexcept {
  return (static_cast<double>(mixed >> 12U) + 0.5) * 0x1p-52;
}

/// What an endpoint draws for an identity: unit_interval() of both.
[[nodiscard]] constexpr double rendezvous_draw(std::uint64_t endpoint,
                                               std::uint64_t identity) noexcept {
  return unit_interval(mix(endpoint ^ identity));
}

/// The identity has the endpoint of the highest score. Each has it as often as its part of the
/// weights: -ln of the draw is exponentially distributed, and divided by the weight it is so with
/// the weight as rate, of which the smallest is each one's with the chance of its rate.
[[nodiscard]] inline double rendezvous_score(double draw, std::uint32_t weight) noexcept {
  return weight / -std::log(draw);
}

/// Whether the score is not higher than `best`, for most that are not: -ln(draw) >= 1 - draw.
/// Spares nearly all logarithms.
[[nodiscard]] constexpr bool cannot_beat(double draw, std::uint32_t weight, double best) noexcept {
  return weight <= best * (1 - draw);
}

}  // namespace sallyport::gateway
