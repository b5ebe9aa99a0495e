// The client's end of a connection.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "gateway/connection/connection_limit.h"
#include "gateway/connection/handshake.h"
#include "gateway/connection/limit_table.h"
#include "gateway/connection/live_connection.h"
#include "ktls/records/plain_records.h"
#include "ktls/records/record_layer.h"

namespace sallyport::gateway {

/// First a handshake, then records; both null when nothing can be sent to the client any more.
/// Lives in the frame of serve().
struct Client {
  /// An application of this machine speaks plaintext.
  Client(LiveConnection& its_connection, iouring::Socket socket) : connection(its_connection) {
    if (connection.is_egress()) {
      records = ktls::plain_records(std::move(socket), connection.shard().pools);
    } else {
      handshake = std::make_unique<Handshake>(connection, std::move(socket));
    }
  }

  LiveConnection& connection;
  std::optional<ConnectionLimit::Place> place;  ///< of --max-connections
  LimitTable::Place place_of_address, place_of_identity;
  std::unique_ptr<Handshake> handshake;
  std::unique_ptr<ktls::RecordLayer> records;
  /// What came while the backend was dialled; null: nothing.
  std::unique_ptr<ktls::Received> early;
};

}  // namespace sallyport::gateway
