#include "ktls/handshake/session_ticket.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <array>
#include <cstdint>
#include <utility>

#include "ktls/base/openssl_handles.h"
#include "ktls/base/wire.h"
#include "ktls/keys/hmac.h"

namespace sallyport::ktls {
namespace {

constexpr std::size_t kTicketIv = 16;
constexpr std::size_t kBlock = 16;
constexpr std::size_t kMac = 32;
constexpr std::uint8_t kNewSessionTicket = 4;
constexpr auto kSha256 = CipherSuite::kAes128GcmSha256;  // for its hash

}  // namespace

const EVP_CIPHER* ticket_cipher() {
  // Holds no key, never changes, lives as long as the process.
  static const EVP_CIPHER* const cipher = EVP_CIPHER_fetch(nullptr, "AES-256-CBC", nullptr);
  return cipher;
}

std::optional<std::vector<std::byte>> seal_session(const TicketSecrets::Key& key,
                                                   std::span<const std::byte> session) {
  WireWriter head;
  head.raw(std::as_bytes(std::span(key.name)));
  std::array<std::byte, kTicketIv> iv;
  if (RAND_bytes(raw(iv.data()), kTicketIv) != 1) return std::nullopt;
  head.raw(iv);
  std::vector<std::byte> ticket = std::move(head).take();

  const std::size_t start = ticket.size();
  ticket.resize(start + session.size() + kBlock + kMac);
  const EvpCipherCtxPtr context(EVP_CIPHER_CTX_new());
  int sealed = 0;
  int last = 0;
  if (!context ||
      EVP_EncryptInit_ex2(context.get(), ticket_cipher(), raw(key.cipher.bytes().data()),
                          raw(iv.data()), nullptr) != 1 ||
      EVP_EncryptUpdate(context.get(), raw(ticket.data() + start), &sealed, raw(session.data()),
                        static_cast<int>(session.size())) != 1 ||
      EVP_EncryptFinal_ex(context.get(), raw(ticket.data() + start + sealed), &last) != 1)
    return std::nullopt;
  const std::size_t end = start + static_cast<std::size_t>(sealed + last);
  ticket.resize(end + kMac);
  hmac(kSha256, key.mac.bytes(), std::span(ticket).first(end), ticket.data() + end);
  return ticket;
}

std::vector<std::byte> new_session_ticket(std::chrono::seconds lifetime,
                                          std::span<const std::byte, 4> age_add,
                                          std::span<const std::byte> nonce,
                                          std::span<const std::byte> ticket) {
  constexpr std::size_t kNoExtensions = 0;
  const std::size_t body = 4 + age_add.size() + 1 + nonce.size() + 2 + ticket.size() + 2;
  WireWriter message;
  message.u8(kNewSessionTicket);
  message.u8(static_cast<std::uint8_t>(body >> 16));
  message.u16(body & 0xffff);
  message.u32(static_cast<std::uint32_t>(lifetime.count()));
  message.raw(age_add);
  message.u8(static_cast<std::uint8_t>(nonce.size()));
  message.raw(nonce);
  message.u16(ticket.size());
  message.raw(ticket);
  message.u16(kNoExtensions);
  return std::move(message).take();
}

}  // namespace sallyport::ktls
