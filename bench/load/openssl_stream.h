// A connection of OpenSSL's, of either side.
#pragma once

#include <openssl/types.h>

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "bench/load/openssl_free.h"
#include "bench/load/stream.h"

namespace sallyport::bench {

/// Dies, with OpenSSL's own reasons, unless `good`.
void require_openssl(bool good, const std::string& what);

/// What a context needs for openssl_stream(), and reads of many records at once.
void set_for_streams(SSL_CTX* context);

/// Takes `ssl`, which has its descriptor and its side. `buffer` is for read(), may be shared by all
/// streams of a thread, and outlives them.
std::unique_ptr<Stream> openssl_stream(SSL* ssl, std::span<std::byte> buffer);

}  // namespace sallyport::bench
