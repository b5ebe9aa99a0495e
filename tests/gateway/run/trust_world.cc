#include "tests/gateway/run/trust_world.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <utility>

#include "gateway/policy/pattern.h"
#include "ktls/base/time_text.h"
#include "ktls/trust/x509_facts.h"

namespace sallyport::gateway::testing {
namespace {

using namespace std::chrono_literals;
using std::chrono::seconds;
using std::chrono::sys_seconds;

constexpr std::size_t kRootKeys = 3;
constexpr std::size_t kIssuingKeys = 4;
const std::vector<std::string> kRoutes{"one.test", "two.test"};

const std::shared_ptr<EVP_PKEY>& key(std::size_t index) {
  static const std::vector<std::shared_ptr<EVP_PKEY>> pool = [] {
    std::vector<std::shared_ptr<EVP_PKEY>> made;
    for (std::size_t i = 0; i < kRootKeys + kIssuingKeys + 1; ++i)
      made.push_back(test::make_key(test::KeyType::kEcdsaP256));
    return made;
  }();
  return pool[index];
}
constexpr std::size_t kLeafKey = kRootKeys + kIssuingKeys;

struct Dates {
  seconds not_before = -48h, not_after = 48h;
};

Dates random_dates(Random& random, std::size_t one_in_is_odd) {
  if (!random.one_in(one_in_is_odd)) return {};
  return random.one_of<Dates>(
      {{.not_after = -1h}, {.not_before = 1h}, {.not_after = 1h}, {.not_after = 3h}});
}

Issued issue(ktls::testing::CertificateSpec spec, std::size_t own_key, const Issued* issuer,
             const Dates& dates) {
  Issued issued{.made = {},
                .subject = spec.subject,
                .key = own_key,
                .issuer = issuer,
                .not_before = {},
                .not_after = {}};
  spec.key = key(own_key).get();
  spec.issuer = issuer != nullptr ? issuer->made.x509.get() : nullptr;
  spec.signer = issuer != nullptr ? issuer->made.key.get() : spec.key;
  spec.not_before = dates.not_before;
  spec.not_after = dates.not_after;
  issued.made.x509 = {ktls::testing::make_certificate(spec).release(), X509_free};
  issued.made.key = key(own_key);
  issued.made.cert_pem = test::to_pem(issued.made.x509.get());
  issued.made.serial = ASN1_INTEGER_get(X509_get0_serialNumber(issued.made.x509.get()));
  issued.not_before = ktls::to_time(X509_get0_notBefore(issued.made.x509.get()));
  issued.not_after = ktls::to_time(X509_get0_notAfter(issued.made.x509.get()));
  return issued;
}

// By the identifier of the issuer's key, where that has one.
void name_key_of(const Issued& issuer, ktls::testing::CertificateSpec& spec, Random& random) {
  if (X509_get_ext_by_NID(issuer.made.x509.get(), NID_subject_key_identifier, -1) >= 0 &&
      random.one_in(2))
    spec.extensions.push_back({"authorityKeyIdentifier", "keyid"});
}

bool is_same_authority(const Issued& one, const Issued& other) {
  return one.subject == other.subject && one.key == other.key;
}

// The patterns that rules are made of. What each matches is said by matches().
const std::vector<std::string> kPatterns{"spiffe://a.test/**", "spiffe://b.test/shop/*",
                                         "spiffe://a.test/shop/web", "dns:*.c.test",
                                         "dns:x.c.test"};

bool matches(const std::string& pattern, const ktls::PeerIdentity& peer) {
  const std::string& id = peer.spiffe;
  if (pattern == "spiffe://a.test/**") return id.starts_with("spiffe://a.test/");
  if (pattern == "spiffe://b.test/shop/*") return id.starts_with("spiffe://b.test/shop/");
  if (pattern == "spiffe://a.test/shop/web") return id == pattern;
  if (pattern == "dns:*.c.test")
    return std::ranges::any_of(peer.dns,
                               [](const auto& name) { return name.ends_with(".c.test"); });
  if (pattern == "dns:x.c.test") return std::ranges::count(peer.dns, "x.c.test") > 0;
  std::abort();
}

}  // namespace

std::vector<std::vector<std::byte>> Client::ders() const {
  std::vector<std::vector<std::byte>> all{ktls::to_der(leaf->made.x509.get())};
  for (const Issued* each : sent) all.push_back(ktls::to_der(each->made.x509.get()));
  return all;
}

World::World(Random& random) {
  for (std::size_t i = 2 + random.below(4); i > 0; --i) add_root(random);
  for (std::size_t i = 1 + random.below(6); i > 0; --i) add_intermediate(random);
  for (int i = 0; i < 6; ++i) add_client(random);
}

const Issued& World::any_issuer(Random& random) const {
  const bool root = intermediates_.empty() || random.one_in(3);
  return random.any(root ? roots_ : intermediates_);
}

void World::add_root(Random& random) {
  ktls::testing::CertificateSpec spec{.subject = random.one_of({"Root A", "Root A", "Root B"}),
                                      .extensions = {{"basicConstraints", "critical,CA:TRUE"},
                                                     {"keyUsage", "critical,keyCertSign,cRLSign"}}};
  if (!random.one_in(3)) spec.extensions.push_back({"subjectKeyIdentifier", "hash"});
  roots_.push_back(issue(spec, random.below(kRootKeys), nullptr, random_dates(random, 3)));
}

void World::add_intermediate(Random& random) {
  const Issued& issuer = any_issuer(random);
  const bool mute = random.one_in(10);
  ktls::testing::CertificateSpec spec{
      .subject = random.one_of({"Issuing A", "Issuing A", "Issuing B"}),
      .extensions = {{"basicConstraints", "critical,CA:TRUE"},
                     {"keyUsage", mute ? "critical,keyCertSign" : "critical,keyCertSign,cRLSign"}}};
  if (!random.one_in(3)) spec.extensions.push_back({"subjectKeyIdentifier", "hash"});
  name_key_of(issuer, spec, random);
  intermediates_.push_back(
      issue(spec, kRootKeys + random.below(kIssuingKeys), &issuer, random_dates(random, 4)));
  intermediates_.back().may_sign_crls = !mute;
}

void World::add_client(Random& random) {
  const std::string names = random.one_of<std::string>(
      {"URI:spiffe://a.test/shop/web", "URI:spiffe://a.test/bank", "URI:spiffe://b.test/shop/web",
       "DNS:x.c.test", "DNS:y.c.test,URI:spiffe://a.test/both",
       "DNS:x.c.test,URI:spiffe://b.test/shop/both", "email:nobody@c.test",
       "URI:spiffe://a.test/one,URI:spiffe://a.test/two"});
  ktls::testing::CertificateSpec spec{.subject = "client",
                                      .extensions = {{"basicConstraints", "critical,CA:FALSE"},
                                                     {"keyUsage", "critical,digitalSignature"},
                                                     {"subjectAltName", names}}};
  if (random.one_in(2))
    spec.extensions.push_back(
        {"extendedKeyUsage", random.one_in(12) ? "serverAuth" : "clientAuth,serverAuth"});
  const Issued& issuer = any_issuer(random);
  name_key_of(issuer, spec, random);
  leaves_.push_back(issue(spec, kLeafKey, &issuer, random_dates(random, 4)));

  Client client{.leaf = &leaves_.back(), .sent = {}, .sni = random.any(kRoutes), .presents = {}};
  for (const Issued* at = &issuer; !at->is_root(); at = at->issuer)
    if (!random.one_in(8)) client.sent.push_back(at);
  for (const Issued& other : intermediates_)
    if (random.one_in(4) && std::ranges::count(client.sent, &other) == 0)
      client.sent.push_back(&other);
  if (random.one_in(10)) client.sent.push_back(&random.any(roots_));
  if (random.one_in(3)) random.shuffle(client.sent);
  client.presents = client.leaf->made;
  client.presents.chain_pem = client.presents.cert_pem;
  for (const Issued* each : client.sent) client.presents.chain_pem += each->made.cert_pem;
  clients_.push_back(std::move(client));
}

const Issued& World::find(const ktls::PeerTrust::Link& link) const {
  for (const auto* all : {&leaves_, &intermediates_, &roots_})
    for (const Issued& each : *all)
      if (ktls::serial_bytes(X509_get0_serialNumber(each.made.x509.get())) == link.serial)
        return each;
  std::abort();
}

void Config::fill(Bundle& bundle, const World& world, Random& random) const {
  for (const Issued& root : world.roots())
    if (!random.one_in(3)) bundle.certificates.push_back(&root);
  if (bundle.certificates.empty()) bundle.certificates.push_back(&random.any(world.roots()));
  for (const Issued& each : world.intermediates())
    if (random.one_in(4)) bundle.certificates.push_back(&each);
  if (random.one_in(3)) bundle.domain = random.one_of({"a.test", "b.test"});
  random.shuffle(bundle.certificates);
}

void Config::add_lists(const World& world, Random& random) {
  std::vector<const Issued*> all;
  for (const Issued& each : world.roots()) all.push_back(&each);
  for (const Issued& each : world.intermediates()) all.push_back(&each);
  for (const Issued* issuer : all) {
    const auto is_listed = [&](const List& list) {
      return is_same_authority(*list.issuer, *issuer);
    };
    const auto is_mute = [&](const Issued* each) {
      return is_same_authority(*each, *issuer) && !each->may_sign_crls;
    };
    if (std::ranges::any_of(lists, is_listed) || std::ranges::any_of(all, is_mute)) continue;
    if (random.one_in(12)) continue;
    List list{.issuer = issuer, .revoked = {}, .next_update = random.one_in(8) ? 2h : 20h};
    if (random.one_in(20)) list.next_update = -30s;
    if (random.one_in(30)) list.this_update = 30min;
    for (const Client& client : world.clients())
      if (is_same_authority(client.leaf->signer(), *issuer) && random.one_in(10))
        list.revoked.insert(client.leaf);
    for (const Issued* each : all)
      if (is_same_authority(each->signer(), *issuer) && random.one_in(20))
        list.revoked.insert(each);
    lists.push_back(std::move(list));
  }
}

void Config::set_route(Random& random, const std::string& name) {
  Rules rules{.name = name, .allow = {}};
  if (random.one_in(2)) {
    for (const std::string& pattern : kPatterns)
      if (random.one_in(2)) rules.allow.push_back(pattern);
  }
  std::erase_if(routes, [&](const Rules& each) { return each.name == name; });
  routes.push_back(std::move(rules));
}

Config Config::at_random(const World& world, Random& random) {
  Config made;
  for (std::size_t i = 1 + random.below(2); i > 0; --i) {
    made.bundles.emplace_back();
    made.fill(made.bundles.back(), world, random);
  }
  if (random.one_in(2)) made.add_lists(world, random);
  for (const std::string& name : kRoutes) made.set_route(random, name);
  made.settings.accept_expired_crl = random.one_in(8);
  made.settings.partial_chain = random.one_in(6);
  if (random.one_in(8))
    made.settings.client_eku = random.one_of({ktls::ClientEku::kRequire, ktls::ClientEku::kIgnore});
  return made;
}

void Config::change(const World& world, Random& random) {
  for (std::size_t i = random.below(4); i > 0; --i) change_once(world, random);
}

void Config::change_once(const World& world, Random& random) {
  Bundle& bundle = random.any(bundles);
  switch (random.below(9)) {
    case 0:
      bundle = {};
      fill(bundle, world, random);
      break;
    case 1:
      bundle.domain.reset();
      break;
    case 2:
      bundle.domain = random.one_of({"a.test", "b.test"});
      break;
    case 3:
      lists.clear();
      add_lists(world, random);
      break;
    case 4:
      if (!lists.empty()) random.any(lists).revoked.insert(random.any(world.clients()).leaf);
      break;
    case 5:
      lists.clear();
      break;
    case 6:
      set_route(random, random.any(kRoutes));
      break;
    case 7:
      routes.erase(routes.begin() + static_cast<std::ptrdiff_t>(random.below(routes.size())));
      if (routes.empty()) set_route(random, kRoutes.front());
      break;
    default:
      if (random.one_in(2)) {
        settings.partial_chain = !settings.partial_chain;
      } else {
        settings.client_eku = random.one_of({ktls::ClientEku::kRequire, ktls::ClientEku::kIgnore});
      }
      break;
  }
}

std::string Config::description() const {
  std::string text = settings.partial_chain ? "; every certificate anchors" : "";
  const auto show = [](const Issued& each) {
    return each.subject + " key " + std::to_string(each.key) + " serial " +
           std::to_string(each.made.serial) + " by " +
           (each.is_root() ? "itself"
                           : each.issuer->subject + " key " + std::to_string(each.issuer->key)) +
           " until " + ktls::time_text(each.not_after);
  };
  for (const Bundle& bundle : bundles) {
    text += "\nbundle " + bundle.domain.value_or("of any domain");
    for (const Issued* each : bundle.certificates) text += "\n  " + show(*each);
  }
  for (const List& list : lists) {
    text += "\nlist of " + list.issuer->subject + " key " + std::to_string(list.issuer->key) +
            ", next in " + std::to_string(list.next_update.count()) + "s:";
    for (const Issued* each : list.revoked) text += " " + std::to_string(each->made.serial);
  }
  for (const Rules& rules : routes) {
    text += "\nroute " + rules.name + ":";
    for (const std::string& pattern : rules.allow) text += " " + pattern;
  }
  return text;
}

bool Config::has(const Issued& certificate) const {
  return std::ranges::any_of(bundles, [&](const Bundle& bundle) {
    return std::ranges::count(bundle.certificates, &certificate) > 0;
  });
}

bool Config::knows_key_of(const Issued& certificate) const {
  return std::ranges::any_of(bundles, [&](const Bundle& bundle) {
    return std::ranges::any_of(bundle.certificates, [&](const Issued* each) {
      return is_same_authority(*each, certificate);
    });
  });
}

const Config::Rules* Config::find_route(const std::string& name) const {
  const auto found = std::ranges::find(routes, name, &Rules::name);
  return found == routes.end() ? nullptr : &*found;
}

LiveCauses Config::causes(const World& world, const ktls::PeerTrust& trust,
                          const std::string& route, sys_seconds now) const {
  LiveCauses causes;
  const auto add = [&](LiveCause cause, bool holds) {
    causes.set(static_cast<std::size_t>(cause), holds);
  };
  const Rules* const rules = find_route(route);
  add(LiveCause::kRouteGone, rules == nullptr);
  add(LiveCause::kNotAuthorized,
      rules != nullptr && !rules->allow.empty() &&
          std::ranges::none_of(rules->allow, [&](const std::string& pattern) {
            return matches(pattern, trust.identity);
          }));
  add(LiveCause::kExpired, std::ranges::any_of(trust.links, [&](const auto& link) {
        return now >= world.find(link).not_after;
      }));
  add(LiveCause::kUntrusted, !is_trusted(trust, now));
  add(LiveCause::kRevoked, is_revoked(world, trust, now));
  return causes;
}

// Of the name and the key that were recorded, in their dates.
std::vector<const Issued*> Config::anchors_in_force(const ktls::PeerTrust& trust,
                                                    sys_seconds now) const {
  std::vector<const Issued*> found;
  for (const Bundle& bundle : bundles) {
    for (const Issued* each : bundle.certificates) {
      const X509* const x509 = each->made.x509.get();
      if ((each->is_root() || settings.partial_chain) && each->not_before <= now &&
          now < each->not_after && ktls::public_key_hash(x509) == trust.anchor_key &&
          ktls::name_hash(X509_get_subject_name(x509)) == trust.anchor_name)
        found.push_back(each);
    }
  }
  return found;
}

// An anchor is a key: it vouches for what the bundles of any certificate of it are scoped to.
bool Config::is_trusted(const ktls::PeerTrust& trust, sys_seconds now) const {
  if (anchors_in_force(trust, now).empty()) return false;
  return std::ranges::any_of(bundles, [&](const Bundle& bundle) {
    const bool has_key = std::ranges::any_of(bundle.certificates, [&](const Issued* each) {
      return (each->is_root() || settings.partial_chain) &&
             ktls::public_key_hash(each->made.x509.get()) == trust.anchor_key;
    });
    if (!has_key) return false;
    return !bundle.domain ||
           (trust.identity.dns.empty() &&
            trust.identity.spiffe.starts_with("spiffe://" + *bundle.domain + "/"));
  });
}

// Whether the list of the issuer that the path has names the certificate.
bool Config::names(const Issued& certificate, const Issued& issuer, sys_seconds now) const {
  if (!issuer.may_sign_crls) return false;
  const auto list = std::ranges::find_if(
      lists, [&](const List& each) { return is_same_authority(*each.issuer, issuer); });
  return list != lists.end() && list->revoked.contains(&certificate) &&
         ktls::wall_clock_now() + list->this_update <= now;
}

bool Config::is_revoked(const World& world, const ktls::PeerTrust& trust, sys_seconds now) const {
  for (std::size_t i = 0; i < trust.links.size(); ++i) {
    const Issued& certificate = world.find(trust.links[i]);
    // The next of the path, which may be another certificate of its issuer than the one it was
    // issued by.
    const Issued& issuer =
        i + 1 < trust.links.size() ? world.find(trust.links[i + 1]) : certificate.signer();
    if (names(certificate, issuer, now)) return true;
  }
  const auto anchors = anchors_in_force(trust, now);
  return !anchors.empty() && std::ranges::all_of(anchors, [&](const Issued* each) {
    return each->is_root() && names(*each, *each, now);
  });
}

bool Config::knows_issuers(const World& world, const ktls::PeerTrust& trust) const {
  return std::ranges::all_of(
      trust.links, [&](const auto& link) { return knows_key_of(world.find(link).signer()); });
}

Loaded load(const Config& config, const test::TempDir& dir, const ktls::CredentialFiles& own) {
  ktls::CredentialFiles files = own;
  files.ca.clear();
  files.crls.clear();
  for (const Config::Bundle& bundle : config.bundles) {
    std::string pem;
    for (const Issued* each : bundle.certificates) pem += each->made.cert_pem;
    files.ca.push_back({bundle.domain, dir.write(std::to_string(files.ca.size()) + ".pem", pem)});
  }
  for (const Config::List& list : config.lists) {
    ktls::testing::CrlSpec spec{.this_update = list.this_update, .next_update = list.next_update};
    for (const Issued* each : list.revoked) spec.serials.push_back(each->made.serial);
    files.crls.push_back(
        dir.write(std::to_string(files.crls.size()) + ".crl",
                  ktls::testing::to_pem(ktls::testing::make_crl(list.issuer->made, spec).get())));
  }
  Loaded loaded;
  auto credentials = ktls::load_usable_credentials(files, config.settings);
  if (!credentials) {
    loaded.error = credentials.error().message();
    return loaded;
  }
  loaded.credentials = *std::move(credentials);
  std::vector<Route> routes;
  for (const Config::Rules& rules : config.routes) {
    Route& route = routes.emplace_back();
    route.name = rules.name;
    route.sni = {rules.name};
    route.allow_any_verified = rules.allow.empty();
    for (const std::string& pattern : rules.allow)
      route.allow.push_back(IdentityPattern::parse(pattern).value());
  }
  loaded.policy = Policy::build(std::move(routes)).value();
  return loaded;
}

}  // namespace sallyport::gateway::testing
