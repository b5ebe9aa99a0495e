// Mode `crypto`: what the cryptography of TLS 1.3 costs, and nothing else: no socket, no server.
// Beside what a plain relay spends it is the floor of every hop that terminates TLS.
#include <openssl/ec.h>
#include <openssl/evp.h>

#include <array>
#include <vector>

#include "bench/load/lean_record.h"
#include "bench/load/openssl_free.h"
#include "bench/load/run.h"

namespace sallyport::bench {
namespace {

constexpr int kParts = 5;  // of --seconds

/// Calls `work` again and again for its part of --seconds; CPU time of one call.
template <typename Work>
std::chrono::nanoseconds cost_of(const Options& options, const Work& work) {
  const auto enough =
      std::chrono::duration_cast<std::chrono::nanoseconds>(options.duration) / kParts;
  constexpr int kBatch = 16;  // the clock is a system call
  const auto begun = own_cpu_time();
  for (int64_t calls = 0;;) {
    for (int i = 0; i < kBatch; ++i) work();
    calls += kBatch;
    const auto spent = own_cpu_time() - begun;
    if (spent >= enough || stop_requested()) return spent / calls;
  }
}

void must(bool good, std::string_view what) {
  if (!good) die(what);
}

/// AES-256-GCM with contexts that are kept.
void add_records(const Options& options, JsonObject& report) {
  const size_t size = options.record == 0 ? lean::kMaxPlaintext : options.record;
  const std::vector<std::byte> content(size);
  std::vector<std::byte> record, opened(size + 1);
  lean::Records records;
  lean::Direction direction;
  direction.use({});
  const auto seal = [&] {
    record.clear();
    records.seal(direction, lean::kApplication, content, record);
  };
  const auto sealing = cost_of(options, seal);
  const uint64_t sequence = direction.sequence;
  seal();
  const auto opening = cost_of(options, [&] {
    direction.sequence = sequence;
    const auto content_size = records.open(direction, record, opened.data()).size;
    must(content_size == static_cast<ptrdiff_t>(size), "a record does not open");
  });
  const auto gigabyte = [&](std::chrono::nanoseconds each) {
    return seconds(each) * 1e9 / static_cast<double>(size);
  };
  report.add("record", uint64_t{size});
  report.add("seal_cpu_s_per_gb", gigabyte(sealing));
  report.add("open_cpu_s_per_gb", gigabyte(opening));
}

using Key = Owned<EVP_PKEY>;
using KeyContext = Owned<EVP_PKEY_CTX>;

KeyContext context_of(const Key& key) {
  return KeyContext(EVP_PKEY_CTX_new(key.get(), nullptr));
}

/// A key share and the shared secret.
std::chrono::nanoseconds cost_of_x25519(const Options& options) {
  const Key peer(EVP_PKEY_Q_keygen(nullptr, nullptr, "X25519"));
  const KeyContext generator(EVP_PKEY_CTX_new_from_name(nullptr, "X25519", nullptr));
  must(peer && EVP_PKEY_keygen_init(generator.get()) == 1, "X25519");
  return cost_of(options, [&] {
    EVP_PKEY* made = nullptr;
    must(EVP_PKEY_keygen(generator.get(), &made) == 1, "X25519: key");
    const Key own(made);
    const KeyContext deriving = context_of(own);
    std::array<unsigned char, 32> secret{};
    size_t size = secret.size();
    must(EVP_PKEY_derive_init(deriving.get()) == 1 &&
             EVP_PKEY_derive_set_peer(deriving.get(), peer.get()) == 1 &&
             EVP_PKEY_derive(deriving.get(), secret.data(), &size) == 1,
         "X25519: secret");
  });
}

/// The server's arithmetic, keys and certificates being at hand.
void add_handshakes(const Options& options, JsonObject& report) {
  const Key key(EVP_EC_gen("P-256"));
  const std::array<unsigned char, 32> digest{1};
  std::array<unsigned char, 128> signature{};
  size_t size = 0;
  const KeyContext signing = context_of(key);
  const KeyContext verifying = context_of(key);
  must(key && EVP_PKEY_sign_init(signing.get()) == 1 && EVP_PKEY_verify_init(verifying.get()) == 1,
       "P-256");
  const auto sign = cost_of(options, [&] {
    size = signature.size();
    must(EVP_PKEY_sign(signing.get(), signature.data(), &size, digest.data(), digest.size()) == 1,
         "P-256: sign");
  });
  const auto verify = cost_of(options, [&] {
    must(
        EVP_PKEY_verify(verifying.get(), signature.data(), size, digest.data(), digest.size()) == 1,
        "P-256: verify");
  });
  const auto exchange = cost_of_x25519(options);
  report.add("p256_sign_us", microseconds(sign));
  report.add("p256_verify_us", microseconds(verify));
  report.add("x25519_us", microseconds(exchange));
  // Of the client: its CertificateVerify, its certificate, its intermediate's.
  report.add("full_handshake_us", microseconds(exchange + sign + 3 * verify));
  report.add("resumed_handshake_us", microseconds(exchange));
}

}  // namespace

int run_crypto(const Options& options) {
  JsonObject report;
  report.add("mode", options.mode);
  add_records(options, report);
  add_handshakes(options, report);
  print(report);
  return 0;
}

}  // namespace sallyport::bench
