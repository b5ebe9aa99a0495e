// What one client may have of the whole process, by its address and by its identity.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

#include "gateway/connection/limit_table.h"
#include "gateway/connection/refusal.h"

namespace sallyport::gateway {

struct Client;

/// One of the process. Any thread.
class ClientLimits {
 public:
  /// Zero: no limit.
  struct PerAddress {
    std::uint32_t connections = 0;  ///< --max-connections-per-address
    std::uint32_t handshakes = 0;   ///< --max-handshakes-per-address, a second
  };

  /// `most_connections`: of the process.
  ClientLimits(std::size_t most_connections, PerAddress per_address)
      : most_connections_(most_connections), per_address_(per_address) {}

  [[nodiscard]] const PerAddress& per_address() const noexcept { return per_address_; }
  /// Made with their first use: what is not limited needs no memory.
  [[nodiscard]] LimitTable& addresses() { return addresses_.get(most_connections_); }
  [[nodiscard]] LimitTable& identities() { return identities_.get(most_connections_); }

 private:
  struct Lazy {
    LimitTable& get(std::size_t most_connections) {
      std::call_once(made, [&] { table = std::make_unique<LimitTable>(most_connections); });
      return *table;
    }
    std::once_flag made;
    std::unique_ptr<LimitTable> table;
  };

  const std::size_t most_connections_;
  const PerAddress per_address_;
  Lazy addresses_, identities_;
};

/// Takes a place of the client's address, an IPv4 address or IPv6 /64, for as long as it is there.
/// Once the true address is known, and before anything is received for the handshake.
[[nodiscard]] RefusalPtr limit_connections_of_address(Client& client);
/// Its ClientHello is whole, and has cost nothing yet.
[[nodiscard]] RefusalPtr limit_handshakes_of_address(Client& client);
/// The client is authenticated and may use its route: whether it may once more.
[[nodiscard]] RefusalPtr limit_identity(Client& client);

}  // namespace sallyport::gateway
