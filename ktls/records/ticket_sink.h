#pragma once

#include <cstddef>
#include <span>

namespace sallyport::ktls {

/// Takes the session tickets that a server of TLS 1.3 sends behind its handshake, from the record
/// layer that opens them. Of the layer's thread.
class TicketSink {
 public:
  virtual ~TicketSink() = default;
  TicketSink(const TicketSink&) = delete;
  TicketSink& operator=(const TicketSink&) = delete;

  /// `body` of a NewSessionTicket (RFC 8446 4.6.1), as the peer sent it. False: no more are wanted.
  virtual bool take(std::span<const std::byte> body) noexcept = 0;

 protected:
  TicketSink() = default;
};

}  // namespace sallyport::ktls
