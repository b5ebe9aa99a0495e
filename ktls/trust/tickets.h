#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ktls/base/secret_bytes.h"
#include "ktls/trust/credentials_error.h"
#include "ktls/trust/peer_trust.h"

namespace sallyport::ktls {

/// The secrets from which the keys of tickets are derived (bind()). A fleet may share them in a
/// file; its holder can forge any identity, so the file obeys the rules of a private key. Immutable
/// and shared by shards; cleansed when the last owner goes.
class TicketSecrets {
 public:
  static constexpr std::size_t kMinSize = 32;     ///< bytes of one secret
  static constexpr std::size_t kMaxSize = 64;     ///< bytes of one secret
  static constexpr std::size_t kMaxSecrets = 16;  ///< in one file

  /// One random secret: its tickets are accepted in this process only.
  static std::shared_ptr<const TicketSecrets> random();
  /// A new random secret that seals, beside the sealing one of `before`, which still opens.
  static std::shared_ptr<const TicketSecrets> renewed(const TicketSecrets& before);

  /// Reads FILE of --ticket-keys: one secret a line, 32 to 64 bytes in hexadecimal or base64
  /// (`openssl rand -base64 48`); blank lines and lines that start with '#' do not count, nor do
  /// white space and byte order marks at the ends of a line. The first secret seals, all of them
  /// open: rotate by putting the new secret first, later dropping the last. Errors name file and
  /// line.
  static std::expected<std::shared_ptr<const TicketSecrets>, CredentialsError> load(
      const std::string& file);
  /// The same for a text in memory; `file` is for errors.
  static std::expected<std::shared_ptr<const TicketSecrets>, CredentialsError> parse(
      std::string_view text, const std::string& file);

  /// The keys of one secret after binding, as OpenSSL's form of tickets needs them (RFC 5077 4).
  struct Key {
    std::array<std::uint8_t, 16> name{};  ///< in the ticket: the key that it was sealed under
    SecretBytes<32> cipher;               ///< AES-256-CBC
    SecretBytes<32> mac;                  ///< HMAC-SHA256
  };
  /// Keys for one trust and one set of listeners, sealing key first: HKDF-SHA256 over each secret
  /// with both in its info. A ticket of another trust or another set does not open.
  std::vector<Key> bind(const Sha256& trust_digest, std::string_view listener_set) const;

  std::size_t size() const noexcept { return secrets_.size(); }

 private:
  void add_random();

  std::vector<SecretBytes<kMaxSize>> secrets_;
};

/// The part of a ticket's content that is ours, beside OpenSSL's session.
struct TicketContent {
  PeerTrust trust;
  std::chrono::sys_seconds authenticated_at;  ///< of the last *full* handshake

  std::vector<std::byte> serialise() const;
  static std::optional<TicketContent> parse(std::span<const std::byte> bytes);
};

}  // namespace sallyport::ktls
