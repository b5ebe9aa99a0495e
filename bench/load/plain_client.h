// No TLS at all: what a plaintext relay costs, as the floor under everything.
#pragma once

#include <memory>

#include "bench/load/stream.h"

namespace sallyport::bench {

std::unique_ptr<Client> plain_client();

}  // namespace sallyport::bench
