#pragma once

#include <openssl/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sallyport::test {

enum class KeyType { kEcdsaP256, kEcdsaP384, kRsa2048, kEd25519 };

/// Extended key usage of a leaf.
enum class Eku { kAbsent, kClientAuth, kServerAuth, kClientAndServerAuth, kOther };

/// What a certificate says. Times are offsets from the moment of issuing.
struct LeafSpec {
  std::string cn = "leaf";
  std::vector<std::string> dns = {};     ///< SAN dNSName, byte for byte: NUL and '*' are possible
  std::vector<std::string> spiffe = {};  ///< SAN uniformResourceIdentifier, one or several
  std::vector<std::string> ip = {};      ///< SAN iPAddress, in text form
  std::chrono::seconds not_before = std::chrono::hours(-1);
  std::chrono::seconds not_after = std::chrono::hours(24);
  Eku eku = Eku::kClientAndServerAuth;
  bool ca = false;  ///< basicConstraints CA:TRUE on the leaf
  KeyType key_type = KeyType::kEcdsaP256;
};

/// A certificate with its key; a value, copies share the OpenSSL objects.
struct TestCertificate {
  std::shared_ptr<X509> x509;
  std::shared_ptr<EVP_PKEY> key;
  std::string cert_pem;   ///< this certificate alone
  std::string chain_pem;  ///< this certificate, then the intermediates up to but without the root
  std::string key_pem;    ///< PKCS#8, unencrypted
  std::uint64_t serial = 0;
};

/// A certificate authority for tests: a self-signed root, or an intermediate made by one.
/// RSA keys are made once per process and shared, since each takes a good part of a second.
class TestAuthority {
 public:
  explicit TestAuthority(std::string cn = "Test Root", KeyType key_type = KeyType::kEcdsaP256,
                         std::chrono::seconds not_after = std::chrono::hours(240));

  /// An intermediate authority signed by this one; its leaves' chain_pem contains it.
  TestAuthority intermediate(std::string cn = "Test Intermediate",
                             KeyType key_type = KeyType::kEcdsaP256,
                             std::chrono::seconds not_after = std::chrono::hours(24)) const;

  TestCertificate issue(const LeafSpec& spec) const;
  /// A leaf over a key that exists already: renewal, or the same key under another name.
  TestCertificate issue(const LeafSpec& spec, const std::shared_ptr<EVP_PKEY>& key) const;

  /// A CRL in PEM, signed by this authority. The times are offsets from now; `next_update` may lie
  /// in the past. `number` is its cRLNumber; 0: it has none.
  std::string crl(const std::vector<std::uint64_t>& revoked_serials = {},
                  std::chrono::seconds next_update = std::chrono::hours(24),
                  std::chrono::seconds this_update = std::chrono::hours(-48),
                  std::uint64_t number = 0) const;

  const std::string& cert_pem() const { return own_.cert_pem; }
  const TestCertificate& certificate() const { return own_; }

 private:
  TestAuthority(TestCertificate own, std::string chain_below_root);

  TestCertificate own_;
  std::string chain_below_root_;  ///< what a leaf appends to its own PEM
};

/// A self-signed leaf that no authority vouches for.
TestCertificate self_signed(const LeafSpec& spec);

std::shared_ptr<EVP_PKEY> make_key(KeyType type);
std::string to_pem(const X509* certificate);
std::string to_pem(const EVP_PKEY* private_key);
std::vector<unsigned char> to_der(const X509* certificate);

}  // namespace sallyport::test
