#pragma once

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include "ktls/keys/key_block.h"
#include "ktls/records/record.h"
#include "tests/ktls/bytes.h"

namespace sallyport::ktls::testing {

/// What a record layer goes on from, taken out of an SSL of TLS 1.2: one record, its Finished, is
/// behind each end. `role` is that of `ssl`.
inline SessionState tls12_state(const SSL* ssl, CipherSuite suite, Role role) {
  const auto take = [](auto getter, const auto* from, std::size_t size) {
    Bytes bytes(size);
    EXPECT_EQ(getter(from, reinterpret_cast<unsigned char*>(bytes.data()), size), size);
    return bytes;
  };
  const auto block =
      key_block(suite, take(SSL_SESSION_get_master_key, SSL_get_session(ssl), 48),
                take(SSL_get_client_random, ssl, 32), take(SSL_get_server_random, ssl, 32));
  EXPECT_TRUE(block);
  const SessionState client{suite, {block->server, 1}, {block->client, 1}, RecordVersion::kTls12};
  return role == Role::kClient ? client : mirrored(client);
}

}  // namespace sallyport::ktls::testing
