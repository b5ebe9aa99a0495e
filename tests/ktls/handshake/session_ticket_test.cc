#include "ktls/handshake/session_ticket.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>

#include "ktls/base/openssl_handles.h"
#include "ktls/base/wire.h"
#include "tests/ktls/bytes.h"

namespace sallyport::ktls {
namespace {

using testing::Bytes;
using testing::random_bytes;

TicketSecrets::Key a_key() {
  TicketSecrets::Key key;
  key.name.fill(0x5a);
  key.cipher.assign(random_bytes(32, 1));
  key.mac.assign(random_bytes(32, 2));
  return key;
}

// RFC 5077 4, opened with nothing of ours.
TEST(SessionTicket, IsNameIvCiphertextAndMac) {
  const TicketSecrets::Key key = a_key();
  for (const std::size_t size : {1U, 16U, 160U, 4000U}) {
    const Bytes session = random_bytes(size, 3);
    const auto ticket = seal_session(key, session);
    ASSERT_TRUE(ticket);
    WireReader reader(*ticket);
    const auto name = reader.take(16);
    const auto iv = reader.take(16);
    const auto sealed = reader.take(ticket->size() - 64);
    const auto mac = reader.take(32);
    ASSERT_TRUE(reader.at_end());
    EXPECT_TRUE(std::ranges::equal(name, std::as_bytes(std::span(key.name))));

    std::array<unsigned char, EVP_MAX_MD_SIZE> expected;
    unsigned mac_size = 0;
    const auto* at = reinterpret_cast<const unsigned char*>(ticket->data());
    ASSERT_TRUE(HMAC(EVP_sha256(), key.mac.bytes().data(), 32, at, ticket->size() - 32,
                     expected.data(), &mac_size));
    EXPECT_TRUE(std::ranges::equal(mac, std::as_bytes(std::span(expected).first(mac_size))));

    const OpensslPtr<EVP_CIPHER_CTX, EVP_CIPHER_CTX_free> context(EVP_CIPHER_CTX_new());
    const auto raw = [](auto bytes) {
      return reinterpret_cast<const unsigned char*>(bytes.data());
    };
    ASSERT_EQ(EVP_DecryptInit_ex(context.get(), EVP_aes_256_cbc(), nullptr, raw(key.cipher.bytes()),
                                 raw(iv)),
              1);
    Bytes opened(sealed.size());
    auto* out = reinterpret_cast<unsigned char*>(opened.data());
    int first = 0;
    int last = 0;
    ASSERT_EQ(
        EVP_DecryptUpdate(context.get(), out, &first, raw(sealed), static_cast<int>(sealed.size())),
        1);
    ASSERT_EQ(EVP_DecryptFinal_ex(context.get(), out + first, &last), 1);
    opened.resize(static_cast<std::size_t>(first) + static_cast<std::size_t>(last));
    EXPECT_EQ(opened, session);
  }
}

TEST(SessionTicket, IsAnotherOneEachTime) {
  const TicketSecrets::Key key = a_key();
  const Bytes session = random_bytes(160, 3);
  EXPECT_NE(seal_session(key, session), seal_session(key, session));
}

TEST(NewSessionTicket, IsTheMessageOfRfc8446) {
  const Bytes ticket = random_bytes(300, 1);
  const std::array age_add{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
  const std::array nonce{std::byte{7}};
  const auto message = new_session_ticket(std::chrono::hours(2), age_add, nonce, ticket);
  WireReader reader(message);
  EXPECT_EQ(reader.u8(), 4);
  EXPECT_EQ(reader.u8(), 0);
  EXPECT_EQ(reader.u16(), message.size() - 4);
  EXPECT_EQ(reader.u16(), 0);
  EXPECT_EQ(reader.u16(), 7200);
  EXPECT_TRUE(std::ranges::equal(reader.take(4), age_add));
  EXPECT_EQ(reader.u8(), 1);
  EXPECT_EQ(reader.u8(), 7);
  EXPECT_TRUE(std::ranges::equal(std::as_bytes(std::span(reader.text())), ticket));
  EXPECT_EQ(reader.u16(), 0);
  EXPECT_TRUE(reader.at_end());
}

}  // namespace
}  // namespace sallyport::ktls
