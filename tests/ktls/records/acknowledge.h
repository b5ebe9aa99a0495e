#pragma once

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <span>

#include "iouring/ring.h"
#include "iouring/task.h"
#include "ktls/records/record_layer.h"
#include "tests/ktls/bytes.h"

namespace sallyport::ktls::testing {

/// A NewSessionTicket: lifetime, age_add, nonce, ticket, no extensions (RFC 8446 4.6.1).
inline Bytes ticket() {
  return from_hex("04 000010 00001c20 00000001 01 00 0002 aabb 0000");
}

/// As behind a request: TCP waits for data that an acknowledgement can travel with.
inline void delay_acknowledgements(RecordLayer& layer, iouring::Ring& ring) {
  ring.run([](iouring::Socket& socket) -> iouring::Task<void> {
    const int off = 0;
    const auto set =
        co_await socket.set_option(IPPROTO_TCP, TCP_QUICKACK, std::as_bytes(std::span(&off, 1)));
    EXPECT_TRUE(set);
  }(layer.socket()));
}

/// What arrives next is nothing to deliver.
inline iouring::Task<void> take_nothing(RecordLayer& layer) {
  Arrival arrival = layer.arrival();
  co_await arrival;
  const Received received = co_await layer.take(arrival);
  EXPECT_EQ(received.kind, Received::Kind::kData);
  EXPECT_EQ(received.size(), 0U);
}

inline unsigned unacknowledged_segments(const iouring::Socket& socket) {
  tcp_info info{};
  socklen_t size = sizeof info;
  EXPECT_EQ(::getsockopt(socket.descriptor(), IPPROTO_TCP, TCP_INFO, &info, &size), 0);
  return info.tcpi_unacked;
}

}  // namespace sallyport::ktls::testing
