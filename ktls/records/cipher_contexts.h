#pragma once

#include <openssl/evp.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "ktls/keys/suite.h"
#include "ktls/keys/traffic_secret.h"

namespace sallyport::ktls {

/// The EVP contexts of one shard, lent to the directions that are active. An idle connection must
/// not cost one (1.2 KiB a direction), so contexts live in a small LRU: a direction that was active
/// lately finds its context still keyed; another one gets the least recently used context, whose
/// key is overwritten. This class alone decides which directions keep a context.
///
/// Belongs to one shard's thread. Must outlive every sealer and opener made with it.
class CipherContexts {
 public:
  /// A direction's claim on a context: two small numbers, held by the sealer or opener. It may
  /// become stale at any time, which start() notices.
  struct Claim {
    /// 0 = none. 64 bits wide: a stamp that was issued twice would select a wrong key.
    std::uint64_t stamp = 0;
    std::uint32_t slot = 0;
  };

  /// Enough for eighty connections that are busy both ways: 187 KiB, which with the provided
  /// buffers stays under the MiB that a shard may pool. Directions beyond these set their key for
  /// each record, 0.15 µs on OpenSSL 3.0 beside 0.44 for opening or sealing 1 KiB.
  static constexpr std::size_t kDefaultCapacity = 160;

  /// At most `capacity` contexts, each created when first needed.
  explicit CipherContexts(std::size_t capacity = kDefaultCapacity);
  ~CipherContexts();
  CipherContexts(const CipherContexts&) = delete;
  CipherContexts& operator=(const CipherContexts&) = delete;

  enum class Direction : std::uint8_t { kSeal, kOpen };

  /// A context that has `key` and `nonce` set for one record in `direction`, valid until the next
  /// start() by any direction. Sets the key only if the claim is stale. `key` must not change while
  /// the claim is held: release it before using another key. Null if libcrypto fails (no memory).
  EVP_CIPHER_CTX* start(Claim& claim, CipherSuite suite, Direction direction, const RecordKey& key,
                        std::span<const std::byte, kIvSize> nonce) noexcept;

  /// Returns the context and cleanses its key. Does nothing for a stale or empty claim.
  void release(Claim& claim) noexcept;

  std::size_t live_contexts() const noexcept;                  ///< created so far
  std::uint64_t keyings() const noexcept { return keyings_; }  ///< how often a key had to be set

 private:
  struct Slot;
  std::uint32_t take_oldest() noexcept;
  void link_newest(std::uint32_t index) noexcept;
  void link_oldest(std::uint32_t index) noexcept;
  void unlink(std::uint32_t index) noexcept;

  std::vector<Slot> slots_;
  std::size_t capacity_;
  std::uint32_t newest_;
  std::uint32_t oldest_;
  std::uint64_t next_stamp_ = 1;
  std::uint64_t keyings_ = 0;
};

}  // namespace sallyport::ktls
