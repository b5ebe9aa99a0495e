// TLS 1.3 records under AES-256-GCM. All streams share two cipher contexts.
#pragma once

#include <openssl/evp.h>

#include <array>
#include <cstdint>
#include <vector>

#include "bench/load/lean_schedule.h"
#include "bench/load/openssl_free.h"

namespace sallyport::bench::lean {

enum ContentType : uint8_t {
  kChangeCipherSpec = 20,
  kAlert = 21,
  kHandshake = 22,
  kApplication = 23
};

constexpr size_t kHeaderSize = 5;
constexpr size_t kTagSize = 16;
constexpr size_t kMaxPlaintext = 16384;

/// Keys of one direction.
struct Direction {
  void use(const Hash& traffic_secret);
  void update();  // RFC 8446 7.2

  Hash secret{};
  std::array<std::byte, 32> key{};
  std::array<std::byte, 12> iv{};
  uint64_t sequence = 0;
  uint64_t id = 0;  // of these keys, in this process
};

class Records {
 public:
  Records();

  /// Appends one record. `fragment` is at most kMaxPlaintext bytes.
  void seal(Direction& direction, ContentType type, Bytes fragment, std::vector<std::byte>& to);

  /// Opens a whole record, header included, into `to`, which has room for it. Returns the size of
  /// the content and its type; a negative size when the tag is wrong.
  struct Opened {
    ptrdiff_t size;
    uint8_t type;
  };
  Opened open(Direction& direction, Bytes record, std::byte* to);

 private:
  Owned<EVP_CIPHER_CTX> sealing_, opening_;
  uint64_t sealing_id_ = 0, opening_id_ = 0;  // whose key is set: a key schedule costs 0.2 µs
};

}  // namespace sallyport::bench::lean
