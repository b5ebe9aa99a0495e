#include "ktls/trust/tickets.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "ktls/base/base64.h"
#include "ktls/base/hex.h"
#include "ktls/base/openssl_handles.h"
#include "ktls/base/text_lines.h"
#include "ktls/base/wire.h"
#include "ktls/trust/credential_file.h"

namespace sallyport::ktls {
namespace {

constexpr std::uint8_t kTicketVersion = 1;
constexpr std::string_view kLabel = "sallyport ticket keys v1";

using Secret = SecretBytes<TicketSecrets::kMaxSize>;

bool decode_hex_secret(std::string_view text, Secret& secret) {
  const std::size_t size = text.size() / 2;
  return size <= TicketSecrets::kMaxSize && decode_hex(text, secret.resize(size));
}

bool decode_base64_secret(std::string_view text, Secret& secret) {
  const auto size = base64_size(text);
  return size && *size <= TicketSecrets::kMaxSize && decode_base64(text, secret.resize(*size));
}

// A secret in hexadecimal or base64. Text of hexadecimal digits alone is taken for hexadecimal,
// although it could be base64 as well.
bool decode(std::string_view text, Secret& secret) {
  const bool all_hex = std::ranges::all_of(text, [](char c) { return hex_digit(c) >= 0; });
  return all_hex ? decode_hex_secret(text, secret) : decode_base64_secret(text, secret);
}

// HKDF-SHA256 (RFC 5869) without a salt: the secrets are uniformly random.
void hkdf(std::span<const std::byte> secret, std::span<const std::byte> info,
          std::span<std::byte> out) {
  EVP_KDF* kdf = EVP_KDF_fetch(nullptr, OSSL_KDF_NAME_HKDF, nullptr);
  const EvpKdfCtxPtr context(EVP_KDF_CTX_new(kdf));
  EVP_KDF_free(kdf);
  char digest[] = "SHA256";
  const auto octets = [](std::span<const std::byte> bytes) {
    return std::pair(const_cast<void*>(static_cast<const void*>(bytes.data())), bytes.size());
  };
  const auto [key, key_size] = octets(secret);
  const auto [text, text_size] = octets(info);
  const OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, key, key_size),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, text, text_size),
      OSSL_PARAM_construct_end(),
  };
  if (!context || EVP_KDF_derive(context.get(), raw(out.data()), out.size(), params) != 1)
    std::abort();  // no memory, or a libcrypto without HKDF
}

}  // namespace

std::shared_ptr<const TicketSecrets> TicketSecrets::random() {
  auto secrets = std::make_shared<TicketSecrets>();
  secrets->add_random();
  return secrets;
}

std::shared_ptr<const TicketSecrets> TicketSecrets::renewed(const TicketSecrets& before) {
  auto secrets = std::make_shared<TicketSecrets>();
  secrets->secrets_.reserve(2);
  secrets->add_random();
  secrets->secrets_.emplace_back(before.secrets_.front().bytes());
  return secrets;
}

void TicketSecrets::add_random() {
  const std::span<std::byte> out = secrets_.emplace_back().resize(48);
  if (RAND_priv_bytes(raw(out.data()), static_cast<int>(out.size())) != 1)
    std::abort();  // without random numbers there is no TLS either
}

std::expected<std::shared_ptr<const TicketSecrets>, CredentialsError> TicketSecrets::load(
    const std::string& file) {
  const auto text = read_file(file, FileRules::kSecret);
  if (!text) return std::unexpected(text.error());
  return parse((*text)->view(), file);
}

std::expected<std::shared_ptr<const TicketSecrets>, CredentialsError> TicketSecrets::parse(
    std::string_view text, const std::string& file) {
  const auto error = [&file](unsigned line, std::string what) {
    return std::unexpected(CredentialsError{file, line, std::move(what)});
  };
  auto secrets = std::make_shared<TicketSecrets>();
  secrets->secrets_.reserve(kMaxSecrets);
  const char end = line_end(text);
  for (unsigned line_number = 1; !text.empty(); ++line_number) {
    const std::string_view line = trim(take_line(text, end));
    if (line.empty() || line.front() == '#') continue;

    if (secrets->size() == kMaxSecrets) return error(line_number, "more than 16 ticket secrets");
    Secret secret;
    if (!decode(line, secret))
      return error(line_number, "is neither hexadecimal nor base64 of at most 64 bytes");
    if (secret.size() < kMinSize) return error(line_number, "ticket secret shorter than 32 bytes");
    secrets->secrets_.push_back(std::move(secret));
  }
  if (secrets->secrets_.empty())
    return std::unexpected(CredentialsError{file, std::nullopt, "holds no ticket secret"});
  return secrets;
}

std::vector<TicketSecrets::Key> TicketSecrets::bind(const Sha256& trust_digest,
                                                    std::string_view listener_set) const {
  WireWriter info;
  info.text(kLabel);
  info.raw(std::as_bytes(std::span(trust_digest)));
  info.raw(std::as_bytes(std::span(listener_set)));

  std::vector<Key> keys;
  keys.reserve(secrets_.size());
  for (const Secret& secret : secrets_) {
    SecretBytes<80> material;
    hkdf(secret.bytes(), info.bytes(), material.resize(80));
    const std::span<const std::byte> bytes = material.bytes();
    Key& key = keys.emplace_back();
    std::ranges::copy(bytes.first(16), std::as_writable_bytes(std::span(key.name)).begin());
    key.cipher.assign(bytes.subspan(16, 32));
    key.mac.assign(bytes.subspan(48, 32));
  }
  return keys;
}

std::vector<std::byte> TicketContent::serialise() const {
  WireWriter out;
  out.u8(kTicketVersion);
  out.u64(static_cast<std::uint64_t>(authenticated_at.time_since_epoch().count()));
  out.raw(trust.serialise());
  return std::move(out).take();
}

std::optional<TicketContent> TicketContent::parse(std::span<const std::byte> bytes) {
  WireReader in(bytes);
  if (in.u8() != kTicketVersion) return std::nullopt;
  const std::chrono::seconds at(static_cast<std::int64_t>(in.u64()));
  if (!in.good()) return std::nullopt;
  auto trust = PeerTrust::parse(bytes.subspan(9));
  if (!trust) return std::nullopt;
  return TicketContent{std::move(*trust), std::chrono::sys_seconds(at)};
}

}  // namespace sallyport::ktls
