// Records of a peer that knows the keys and misuses them, in any segmentation, in TLS 1.3 and 1.2.
// The input is a program: each step seals something (data, alerts, handshake bytes, odd types, in
// TLS 1.3 with padding), replaces keys, damages what was sealed, or puts raw bytes in. Whatever
// comes out must be a prefix of the data that went in before the first offence.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "ktls/records/record_reader.h"

namespace {

using namespace sallyport::ktls;
using Bytes = std::vector<std::byte>;

#define REQUIRE(condition) \
  if (!(condition)) __builtin_trap()

class Program {
 public:
  Program(const std::uint8_t* data, std::size_t size) : rest_(data, size) {}
  bool done() const { return rest_.empty(); }
  std::uint8_t byte() {
    if (rest_.empty()) return 0;
    const std::uint8_t value = rest_.front();
    rest_ = rest_.subspan(1);
    return value;
  }
  Bytes bytes(std::size_t count) {
    const auto taken = rest_.first(std::min(count, rest_.size()));
    rest_ = rest_.subspan(taken.size());
    const auto raw = std::as_bytes(taken);
    return {raw.begin(), raw.end()};
  }

 private:
  std::span<const std::uint8_t> rest_;
};

class Peer {
 public:
  Peer(CipherContexts& contexts, CipherSuite suite, const DirectionState& state,
       RecordVersion version)
      : sealer_(contexts, suite, state, version) {}

  bool tls12() const { return sealer_.version() == RecordVersion::kTls12; }

  void seal(ContentType type, std::span<const std::byte> content) {
    const iovec span{const_cast<std::byte*>(content.data()), content.size()};
    PlaintextCursor cursor{std::span(&span, 1)};
    const std::size_t before = wire.size();
    wire.resize(before +
                sealed_size(content.size(), record_overhead(sealer_.version(), sealer_.suite())));
    REQUIRE(sealer_.seal(type, cursor, std::span(wire).subspan(before)).has_value());
    if (type == ContentType::kApplicationData) {
      data.insert(data.end(), content.begin(), content.end());
    }
  }
  void rekey() {
    if (!tls12()) sealer_.next_generation();
  }

  Bytes wire;
  Bytes data;  ///< all that was sealed as application data

 private:
  RecordSealer sealer_;
};

void run(Peer& peer, Program& program) {
  while (!program.done() && peer.wire.size() < 200'000) {
    switch (program.byte() % 8) {
      case 0:
        peer.seal(ContentType::kApplicationData, program.bytes(program.byte()));
        break;
      case 1:
        peer.seal(ContentType::kAlert, program.bytes(program.byte() % 4));
        break;
      case 2:
        peer.seal(ContentType::kHandshake, program.bytes(program.byte() % 32));
        break;
      case 3: {  // any type; in TLS 1.3 the inner one, and padding, which ends in an inner type 0
        if (peer.tls12()) {
          const auto type = static_cast<ContentType>(program.byte());
          peer.seal(type, program.bytes(program.byte() % 32));
          break;
        }
        Bytes inner = program.bytes(program.byte() % 32);
        inner.push_back(static_cast<std::byte>(program.byte()));
        std::size_t kept = inner.size();
        while (kept != 0 && inner[kept - 1] == std::byte{0}) --kept;
        if (kept != 0 && inner[kept - 1] == std::byte{23}) {
          peer.data.insert(peer.data.end(), inner.begin(),
                           inner.begin() + static_cast<long>(kept - 1));
        }
        inner.resize(inner.size() + program.byte() * 16u);
        peer.seal(ContentType::kInvalid, inner);
        break;
      }
      case 4: {
        const Bytes raw = program.bytes(program.byte());
        peer.wire.insert(peer.wire.end(), raw.begin(), raw.end());
        break;
      }
      case 5: {
        const std::size_t back = program.byte() + 1u;
        if (back <= peer.wire.size()) {
          peer.wire[peer.wire.size() - back] ^= static_cast<std::byte>(program.byte());
        }
        break;
      }
      case 6: {
        const auto request = static_cast<KeyUpdateRequest>(program.byte() % 2);
        peer.seal(ContentType::kHandshake, key_update_message(request));
        peer.rekey();
        break;
      }
      case 7:
        peer.seal(ContentType::kApplicationData, Bytes(program.byte() * 150u));
        break;
      default:
        break;
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static CipherContexts contexts;
  Program program(data, size);
  const std::uint8_t choice = program.byte();
  constexpr CipherSuite kSuites[] = {CipherSuite::kAes128GcmSha256, CipherSuite::kAes256GcmSha384,
                                     CipherSuite::kChaCha20Poly1305Sha256};
  const CipherSuite suite = kSuites[choice % 3];
  const Role role = (choice & 4) != 0 ? Role::kClient : Role::kServer;
  const RecordVersion version = (choice & 8) != 0 ? RecordVersion::kTls12 : RecordVersion::kTls13;
  std::uint32_t step = program.byte() | 1u;
  const std::size_t secret_size =
      version == RecordVersion::kTls13 ? hash_size(suite) : key_size(suite) + fixed_iv_size(suite);
  const Bytes secret_bytes(secret_size, std::byte{choice});
  const DirectionState state{TrafficSecret(secret_bytes), 0};

  Peer peer(contexts, suite, state, version);
  run(peer, program);

  RecordReader reader(contexts, suite, state, role, version);
  Bytes held;
  Bytes delivered;
  const InboundState::Moment moment{.now =
                                        KeyUpdateBudget::Clock::time_point(std::chrono::hours(1))};
  for (std::size_t at = 0; at < peer.wire.size();) {
    step = step * 1103515245u + 12345u;
    const std::size_t count =
        std::min<std::size_t>(1 + (step >> 16) % 20000, peer.wire.size() - at);
    held.insert(held.end(), peer.wire.begin() + static_cast<long>(at),
                peer.wire.begin() + static_cast<long>(at + count));
    at += count;
    iovec table[4];
    PlaintextSpans plaintext{std::span(table, 1 + step % 4)};
    const std::size_t used = reader.read(held, plaintext, moment);
    REQUIRE(used <= held.size());
    std::size_t total = 0;
    for (const iovec& span : plaintext.spans()) {
      const auto* const begin = static_cast<const std::byte*>(span.iov_base);
      REQUIRE(begin >= held.data() && begin + span.iov_len <= held.data() + held.size());
      delivered.insert(delivered.end(), begin, begin + span.iov_len);
      total += span.iov_len;
    }
    REQUIRE(total == plaintext.size());
    held.erase(held.begin(), held.begin() + static_cast<long>(used));
    REQUIRE(held.size() < kMaxRecordSize);
    if (reader.inbound().ended()) {
      REQUIRE(held.empty());
      Bytes more(100, std::byte{23});
      PlaintextSpans nothing{table};
      REQUIRE(reader.read(more, nothing, moment) == more.size() && nothing.size() == 0);
      break;
    }
  }
  REQUIRE(delivered.size() <= peer.data.size());
  REQUIRE(std::equal(delivered.begin(), delivered.end(), peer.data.begin()));
  REQUIRE(reader.inbound().received_bytes() == delivered.size());
  return 0;
}
