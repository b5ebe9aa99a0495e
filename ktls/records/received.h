#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "ktls/records/chunk.h"
#include "ktls/records/record_error.h"

namespace sallyport::ktls {

/// The result of receive().
struct Received {
  enum class Kind : std::uint8_t {
    kData,         ///< chunk holds at least one byte
    kCloseNotify,  ///< TLS: the peer's clean end; what it sends afterwards is ignored
    kEndOfStream,  ///< plain: FIN
    kTruncated,    ///< TLS: FIN without close_notify; everything before it was delivered
    kFailed,       ///< `error` says why
  };
  Kind kind = Kind::kData;
  RecordError error;  ///< of kFailed
  Chunk chunk;        ///< of kData

  std::span<iovec> data() noexcept { return chunk.data(); }
  std::size_t size() const noexcept { return chunk.size(); }
  /// Lets the pump write `to.send(std::move(received))`.
  operator Chunk() && noexcept { return std::move(chunk); }  // NOLINT(google-explicit-constructor)
};

}  // namespace sallyport::ktls
