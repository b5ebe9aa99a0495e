// Handshake messages of TLS 1.3 as the lean client writes and reads them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bench/load/lean_schedule.h"

namespace sallyport::bench::lean {

enum MessageType : uint8_t {
  kClientHello = 1,
  kServerHello = 2,
  kNewSessionTicket = 4,
  kEncryptedExtensions = 8,
  kCertificate = 11,
  kCertificateRequest = 13,
  kCertificateVerify = 15,
  kFinished = 20,
  kKeyUpdate = 24,
};

using Buffer = std::vector<std::byte>;
using PublicKey = std::array<std::byte, 32>;

void put(Buffer& to, uint64_t value, size_t octets);
void put(Buffer& to, Bytes bytes);

/// Reads big-endian numbers and vectors; past the end everything is empty and good() false.
class Reader {
 public:
  explicit Reader(Bytes bytes) : bytes_(bytes) {}
  uint64_t number(size_t octets);
  Bytes take(size_t count);
  Bytes vector(size_t length_octets) { return take(number(length_octets)); }
  bool good() const { return good_; }
  bool empty() const { return bytes_.empty(); }

 private:
  Bytes bytes_;
  bool good_ = true;
};

/// A message with its header of type and length.
Buffer message(MessageType type, Bytes body);

/// What is needed to offer a session again.
struct Offer {
  Bytes ticket;
  uint32_t obfuscated_age = 0;
  Hash psk;
};

/// The binder is already in place when there is an offer.
Buffer client_hello(const std::string& sni, const PublicKey& share, const Offer* offer);

struct ServerHello {
  PublicKey share;
  bool resumed;
};
/// Nothing when it is malformed, a HelloRetryRequest, or not what was offered.
std::optional<ServerHello> parse_server_hello(Bytes body);

}  // namespace sallyport::bench::lean
