// Authorities, clients and configurations at random, and what is true of them by what they were
// made of.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "gateway/connection/snapshot.h"
#include "gateway/policy/live_cause.h"
#include "ktls/handshake/server_context.h"
#include "ktls/trust/credentials.h"
#include "ktls/trust/peer_trust.h"
#include "tests/ktls/trust/certificate_builder.h"
#include "tests/support/pki.h"
#include "tests/support/random.h"
#include "tests/support/temp_dir.h"

namespace sallyport::gateway::testing {

using test::Random;

/// A certificate, and what it says.
struct Issued {
  test::TestCertificate made;
  std::string subject;
  std::size_t key = 0;             ///< of the pool
  const Issued* issuer = nullptr;  ///< null: itself
  std::chrono::sys_seconds not_before, not_after;
  bool may_sign_crls = true;

  const Issued& signer() const { return issuer != nullptr ? *issuer : *this; }
  /// Signed by its own key.
  bool is_root() const {
    return issuer == nullptr || (issuer->subject == subject && issuer->key == key);
  }
};

/// A client: its own certificate, and what it sends with it.
struct Client {
  const Issued* leaf = nullptr;
  std::vector<const Issued*> sent;
  std::string sni;
  test::TestCertificate presents;  ///< its chain_pem is all of it

  std::vector<std::vector<std::byte>> ders() const;
};

/// Roots with twins of the same name, renewals of the same key and namesakes' keys, intermediates
/// cross-signed by each other and by them, all of some dates; clients of them.
class World {
 public:
  explicit World(Random& random);

  const std::deque<Issued>& roots() const { return roots_; }
  const std::deque<Issued>& intermediates() const { return intermediates_; }
  const std::vector<Client>& clients() const { return clients_; }

  /// The certificate of an issuer's name and a serial's bytes, as links have them.
  const Issued& find(const ktls::PeerTrust::Link& link) const;

 private:
  void add_root(Random& random);
  void add_intermediate(Random& random);
  void add_client(Random& random);
  const Issued& any_issuer(Random& random) const;

  std::deque<Issued> roots_, intermediates_, leaves_;
  std::vector<Client> clients_;
};

/// A configuration, before it is written to files.
struct Config {
  struct Bundle {
    std::optional<std::string> domain;
    std::vector<const Issued*> certificates;
  };
  struct List {
    const Issued* issuer = nullptr;  ///< any certificate of its name and key
    std::set<const Issued*> revoked;
    std::chrono::seconds this_update{-3600};
    std::chrono::seconds next_update{0};
  };
  struct Rules {
    std::string name;  ///< and its server name
    std::vector<std::string> allow;
  };

  std::vector<Bundle> bundles;
  std::vector<List> lists;
  std::vector<Rules> routes;
  ktls::HandshakeSettings settings;

  static Config at_random(const World& world, Random& random);
  /// Changes one thing or several, or nothing.
  void change(const World& world, Random& random);
  std::string description() const;

  bool has(const Issued& certificate) const;
  /// Whether a certificate of this name and key is in a bundle.
  bool knows_key_of(const Issued& certificate) const;
  const Rules* find_route(const std::string& name) const;

  /// The causes for which a live connection of `route` ends at `now`: docs/operate.md, "Live
  /// connections are judged again", over the certificates of the path that it was let in by.
  LiveCauses causes(const World& world, const ktls::PeerTrust& trust, const std::string& route,
                    std::chrono::sys_seconds now) const;
  /// Whether the path's issuers, whose lists there are, are in a bundle.
  bool knows_issuers(const World& world, const ktls::PeerTrust& trust) const;

 private:
  void add_lists(const World& world, Random& random);
  void set_route(Random& random, const std::string& name);
  void fill(Bundle& bundle, const World& world, Random& random) const;
  void change_once(const World& world, Random& random);

  bool is_revoked(const World& world, const ktls::PeerTrust& trust,
                  std::chrono::sys_seconds now) const;
  bool names(const Issued& certificate, const Issued& issuer, std::chrono::sys_seconds now) const;
  bool is_trusted(const ktls::PeerTrust& trust, std::chrono::sys_seconds now) const;
  std::vector<const Issued*> anchors_in_force(const ktls::PeerTrust& trust,
                                              std::chrono::sys_seconds now) const;
};

/// Under which clients are let in. Null credentials: they cannot be loaded, and why.
struct Loaded {
  std::shared_ptr<const ktls::Credentials> credentials;
  Policy::Pointer policy;
  std::string error;
};
/// `own` is what the gateway presents.
Loaded load(const Config& config, const test::TempDir& dir, const ktls::CredentialFiles& own);

}  // namespace sallyport::gateway::testing
