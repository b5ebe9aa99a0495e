// OpenSSL's own client.
#pragma once

#include <memory>

#include "bench/load/options.h"
#include "bench/load/stream.h"

namespace sallyport::bench {

/// TLS 1.3 only. Dies when a file cannot be used.
std::unique_ptr<Client> openssl_client(const Options& options);

}  // namespace sallyport::bench
