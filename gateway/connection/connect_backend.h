// From an established client to a backend: the phase backend.
#pragma once

#include <expected>
#include <memory>

#include "gateway/connection/refusal.h"
#include "iouring/task.h"
#include "ktls/records/record_layer.h"

namespace sallyport::gateway {

/// Dials an endpoint of the client's route, and the next one if it does not answer, within the
/// connect timeout; LiveConnection knows it afterwards. The client is watched meanwhile: one that
/// leaves ends the dialling, and what it sends is in Client::early.
[[nodiscard]] iouring::Task<std::expected<std::unique_ptr<ktls::RecordLayer>, RefusalPtr>>
connect_backend(Client& client);

}  // namespace sallyport::gateway
