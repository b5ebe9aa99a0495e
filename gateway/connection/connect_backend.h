// From an established client to a backend: the phase backend.
#pragma once

#include <cstddef>
#include <expected>
#include <memory>
#include <vector>

#include "gateway/connection/refusal.h"
#include "iouring/task.h"
#include "ktls/records/record_layer.h"

namespace sallyport::gateway {

/// Connects to an endpoint of the client's route, or to the next one if that refuses or is silent,
/// within the connect timeout (dial()), counts how often it went on, and enters it in
/// LiveConnection. The client is watched meanwhile: if it leaves, the attempt is cancelled; what it
/// sends is in Client::early. `certificate` is the client's, in DER, for a PROXY header that is to
/// have it; empty: the handshake did not keep it.
[[nodiscard]] iouring::Task<std::expected<std::unique_ptr<ktls::RecordLayer>, RefusalPtr>>
connect_backend(Client& client, std::vector<std::byte> certificate = {});

}  // namespace sallyport::gateway
