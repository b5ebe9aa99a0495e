// Sealing and opening records: what userspace TLS adds to a relay, per suite and record size.
// "kept": one direction, its context stays keyed. "rekeyed": so many directions in turn that each
// record finds its context taken by another.
#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "ktls/records/record_protection.h"

namespace {

using namespace sallyport::ktls;
using Bytes = std::vector<std::byte>;

constexpr CipherSuite kSuites[] = {CipherSuite::kAes128GcmSha256, CipherSuite::kAes256GcmSha384,
                                   CipherSuite::kChaCha20Poly1305Sha256};

struct Directions {
  explicit Directions(CipherSuite suite, bool kept) : contexts(kept ? 4 : 1) {
    const Bytes secret(hash_size(suite), std::byte{0x42});
    for (auto& sealer : sealers) {
      sealer =
          std::make_unique<RecordSealer>(contexts, suite, DirectionState{TrafficSecret(secret), 0});
    }
  }
  CipherContexts contexts;
  std::unique_ptr<RecordSealer> sealers[2];
};

void seal(benchmark::State& state) {
  const CipherSuite suite = kSuites[state.range(0)];
  const auto size = static_cast<std::size_t>(state.range(1));
  const bool kept = state.range(2) == 0;
  Directions directions(suite, kept);
  Bytes content(size, std::byte{7});
  Bytes out(sealed_size(size));
  const iovec span{content.data(), content.size()};
  std::size_t turn = 0;
  for (auto _ : state) {
    PlaintextCursor cursor{std::span(&span, 1)};
    const auto sealed =
        directions.sealers[kept ? 0 : turn++ % 2]->seal(ContentType::kApplicationData, cursor, out);
    if (!sealed) std::abort();
    benchmark::DoNotOptimize(out.data());
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * size));
  state.SetLabel(std::string(name(suite)) + (kept ? " kept" : " rekeyed"));
}

void open(benchmark::State& state) {
  const CipherSuite suite = kSuites[state.range(0)];
  const auto size = static_cast<std::size_t>(state.range(1));
  const std::size_t directions = state.range(2) == 0 ? 1 : 2;
  const Bytes secret(hash_size(suite), std::byte{0x42});
  CipherContexts contexts(1);
  CipherContexts sealing;
  RecordSealer sealer(sealing, suite, {TrafficSecret(secret), 0});
  RecordOpener openers[2] = {{contexts, suite, {TrafficSecret(secret), 0}},
                             {contexts, suite, {TrafficSecret(secret), 0}}};
  const Bytes content(size, std::byte{7});
  const iovec span{const_cast<std::byte*>(content.data()), content.size()};
  // Sequence numbers move on, so a batch for each direction is sealed ahead, outside the measured
  // time.
  const std::size_t record_size = sealed_size(size);
  constexpr std::size_t kBatch = 128;
  Bytes batches[2] = {Bytes(kBatch * record_size), Bytes(kBatch * record_size)};
  std::size_t at = kBatch;
  std::size_t turn = 0;
  for (auto _ : state) {
    if (at == kBatch) {
      state.PauseTiming();
      for (at = 0; at < kBatch; ++at) {
        PlaintextCursor cursor{std::span(&span, 1)};
        const std::span out = std::span(batches[0]).subspan(at * record_size, record_size);
        if (!sealer.seal(ContentType::kApplicationData, cursor, out)) std::abort();
      }
      batches[1] = batches[0];
      at = 0;
      state.ResumeTiming();
    }
    const std::span record = std::span(batches[turn]).subspan(at * record_size, record_size);
    if (!openers[turn].open(record)) std::abort();
    if (++turn == directions) {
      turn = 0;
      ++at;
    }
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * size));
  state.SetLabel(std::string(name(suite)) + (directions == 1 ? " kept" : " rekeyed"));
}

void derive(benchmark::State& state) {
  const CipherSuite suite = kSuites[state.range(0)];
  const TrafficSecret secret(Bytes(hash_size(suite), std::byte{0x42}));
  for (auto _ : state) benchmark::DoNotOptimize(derive_key(suite, secret));
  state.SetLabel(std::string(name(suite)));
}

void next_generation(benchmark::State& state) {
  const CipherSuite suite = kSuites[state.range(0)];
  CipherContexts contexts;
  RecordSealer sealer(contexts, suite, {TrafficSecret(Bytes(hash_size(suite))), 0});
  for (auto _ : state) sealer.next_generation();
  state.SetLabel(std::string(name(suite)));
}

BENCHMARK(seal)
    ->ArgNames({"suite", "bytes", "rekeyed"})
    ->ArgsProduct({{0, 1, 2}, {1024, 16384}, {0, 1}});
BENCHMARK(open)
    ->ArgNames({"suite", "bytes", "rekeyed"})
    ->ArgsProduct({{0, 1, 2}, {1024, 16384}, {0, 1}});
BENCHMARK(derive)->DenseRange(0, 2);
BENCHMARK(next_generation)->DenseRange(0, 2);

}  // namespace

BENCHMARK_MAIN();
