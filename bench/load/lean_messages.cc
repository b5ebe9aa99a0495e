#include "bench/load/lean_messages.h"

#include <algorithm>
#include <random>

namespace sallyport::bench::lean {
namespace {

constexpr uint16_t kSuite = 0x1302;  // TLS_AES_256_GCM_SHA384
constexpr uint16_t kX25519 = 0x001d;
constexpr uint16_t kTls13 = 0x0304;

enum Extension : uint16_t {
  kServerName = 0,
  kSupportedGroups = 10,
  kSignatureAlgorithms = 13,
  kPreSharedKey = 41,
  kSupportedVersions = 43,
  kPskKeyExchangeModes = 45,
  kKeyShare = 51,
};

void put_extension(Buffer& to, Extension type, const Buffer& body) {
  put(to, type, 2);
  put(to, body.size(), 2);
  put(to, body);
}

void put_list(Buffer& to, size_t length_octets, size_t item_octets,
              std::initializer_list<uint64_t> items) {
  put(to, items.size() * item_octets, length_octets);
  for (const uint64_t item : items) put(to, item, item_octets);
}

Buffer server_name(const std::string& name) {
  Buffer body;
  put(body, name.size() + 3, 2);
  put(body, 0, 1);
  put(body, name.size(), 2);
  put(body, std::as_bytes(std::span(name)));
  return body;
}

// Neither the random nor the session id of a load generator has to be unguessable.
void put_random(Buffer& to, size_t count) {
  static std::mt19937_64 random(std::random_device{}());
  for (size_t i = 0; i < count; i += 8) put(to, random(), 8);
}

/// Identities and a binder of zeros.
Buffer pre_shared_key(const Offer& offer) {
  Buffer body;
  put(body, 2 + offer.ticket.size() + 4, 2);
  put(body, offer.ticket.size(), 2);
  put(body, offer.ticket);
  put(body, offer.obfuscated_age, 4);
  put(body, 1 + kHashSize, 2);
  put(body, kHashSize, 1);
  body.resize(body.size() + kHashSize);
  return body;
}

}  // namespace

void put(Buffer& to, uint64_t value, size_t octets) {
  while (octets-- > 0) to.push_back(static_cast<std::byte>(value >> (8 * octets)));
}

void put(Buffer& to, Bytes bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

uint64_t Reader::number(size_t octets) {
  uint64_t value = 0;
  for (const std::byte b : take(octets)) value = value << 8 | static_cast<uint64_t>(b);
  return value;
}

Bytes Reader::take(size_t count) {
  if (count > bytes_.size()) {
    good_ = false;
    bytes_ = {};
    return {};
  }
  const Bytes taken = bytes_.first(count);
  bytes_ = bytes_.subspan(count);
  return taken;
}

Buffer message(MessageType type, Bytes body) {
  Buffer out;
  out.reserve(4 + body.size());
  put(out, type, 1);
  put(out, body.size(), 3);
  put(out, body);
  return out;
}

Buffer client_hello(const std::string& sni, const PublicKey& share, const Offer* offer) {
  Buffer extensions;
  if (!sni.empty()) put_extension(extensions, kServerName, server_name(sni));
  Buffer body;
  put_list(body, 2, 2, {kX25519});
  put_extension(extensions, kSupportedGroups, body);
  body.clear();
  put_list(body, 2, 2, {0x0403, 0x0503, 0x0807, 0x0804, 0x0805, 0x0806});
  put_extension(extensions, kSignatureAlgorithms, body);
  body.clear();
  put_list(body, 1, 2, {kTls13});
  put_extension(extensions, kSupportedVersions, body);
  body.clear();
  put_list(body, 1, 1, {1});  // psk_dhe_ke
  put_extension(extensions, kPskKeyExchangeModes, body);
  body.clear();
  put(body, 4 + share.size(), 2);
  put(body, kX25519, 2);
  put(body, share.size(), 2);
  put(body, share);
  put_extension(extensions, kKeyShare, body);
  if (offer != nullptr) put_extension(extensions, kPreSharedKey, pre_shared_key(*offer));

  body.clear();
  put(body, 0x0303, 2);
  put_random(body, 32);
  put(body, 32, 1);
  put_random(body, 32);
  put_list(body, 2, 2, {kSuite});
  put_list(body, 1, 1, {0});
  put(body, extensions.size(), 2);
  put(body, extensions);
  Buffer hello = message(kClientHello, body);
  if (offer != nullptr) {
    // RFC 8446 4.2.11.2: over the hello up to, and without, the list of binders.
    const Hash early = hkdf_extract({}, offer->psk);
    const Hash binder_key = derive_secret(early, "res binder", sha384({}));
    const Hash truncated = sha384(Bytes(hello).first(hello.size() - kHashSize - 3));
    const Hash binder = finished_mac(binder_key, truncated);
    std::copy(binder.begin(), binder.end(), hello.end() - kHashSize);
  }
  return hello;
}

std::optional<ServerHello> parse_server_hello(Bytes body) {
  Reader reader(body);
  reader.take(2 + 32);
  reader.vector(1);
  const uint64_t suite = reader.number(2);
  reader.take(1);
  Reader extensions(reader.vector(2));
  ServerHello hello{};
  bool has_share = false;
  bool has_version = false;
  while (!extensions.empty() && extensions.good()) {
    const uint64_t type = extensions.number(2);
    Reader extension(extensions.vector(2));
    if (type == kKeyShare && extension.number(2) == kX25519) {
      // A HelloRetryRequest has the group only.
      const Bytes share = extension.vector(2);
      has_share = share.size() == hello.share.size();
      if (has_share) std::copy(share.begin(), share.end(), hello.share.begin());
    } else if (type == kSupportedVersions) {
      has_version = extension.number(2) == kTls13;
    } else if (type == kPreSharedKey) {
      hello.resumed = extension.number(2) == 0;
    }
  }
  if (!reader.good() || !extensions.good() || suite != kSuite || !has_share || !has_version) {
    return std::nullopt;
  }
  return hello;
}

}  // namespace sallyport::bench::lean
