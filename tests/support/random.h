#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <random>
#include <vector>

namespace sallyport::test {

/// Choices of a property test: the same for the same seed, on every machine.
class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}

  std::uint64_t below(std::uint64_t end) { return engine_() % end; }
  std::uint64_t up_to(std::uint64_t most) { return below(most + 1); }
  bool one_in(std::uint64_t times) { return below(times) == 0; }

  template <class Value>
  Value one_of(std::initializer_list<Value> values) {
    return *(values.begin() + below(values.size()));
  }

  template <class Container>
  auto& any(Container& of) {
    return of[below(of.size())];
  }

  template <class Value>
  void shuffle(std::vector<Value>& values) {
    std::ranges::shuffle(values, engine_);
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace sallyport::test
