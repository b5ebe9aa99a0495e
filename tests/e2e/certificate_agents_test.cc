// Certificate agents, each with its own names of files, forms of keys, modes and way of replacing:
// in whichever it writes the next certificate and trust bundle, the gateway takes them without a
// signal, a refusal or a lost connection. The agents cannot run here; the files are laid out as
// their documentation and sources say, which docs/rotate.md links to.
#include <openssl/bio.h>
#include <openssl/pem.h>

#include <filesystem>
#include <functional>
#include <ostream>

#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

namespace fs = std::filesystem;

/// PKCS#1 of an RSA key, SEC 1 of an EC one: what many agents write if not told otherwise.
std::string traditional_pem(const TestCertificate& certificate) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new(BIO_s_mem()), BIO_free);
  if (PEM_write_bio_PrivateKey_traditional(bio.get(), certificate.key.get(), nullptr, nullptr, 0,
                                           nullptr, nullptr) != 1) {
    throw TestFailure("no traditional form of this key");
  }
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

/// What an agent has got from its CA.
struct Issued {
  TestCertificate server;
  std::string root_pem;  ///< of the server's root
  std::string trust;     ///< the roots in force, in any order
  int number;            ///< counts the times
};

struct File {
  std::string name, content;
  unsigned mode;
};

/// A volume as the kubelet writes it (pkg/volume/util/atomic_writer.go): the files in a new
/// directory, to which the link ..data is renamed.
void project(const TempDir& dir, int number, const std::vector<File>& files) {
  const fs::path volume = dir / "volume";
  const std::string current = "..2026_11_29_05_00_0" + std::to_string(number) + ".123456789";
  fs::create_directories(volume / current);
  fs::permissions(volume, fs::perms(01777));
  for (const File& file : files) {
    dir.write("volume/" + current + "/" + file.name, file.content, file.mode);
    if (!fs::is_symlink(volume / file.name)) {
      fs::create_symlink("..data/" + file.name, volume / file.name);
    }
  }
  std::string before;
  if (fs::is_symlink(volume / "..data")) before = fs::read_symlink(volume / "..data");
  fs::create_symlink(current, volume / "..data_tmp");
  fs::rename(volume / "..data_tmp", volume / "..data");
  if (!before.empty()) fs::remove_all(volume / before);
}

struct Agent {
  const char* name;
  KeyType key_type;
  bool intermediate;  ///< the server's certificate is issued by one
  bool same_key;      ///< is kept when the certificate is renewed
  std::function<void(const TempDir&, const Issued&)> write;
  std::vector<std::pair<std::string, std::string>> flags;  ///< with names of files
  friend void PrintTo(const Agent& agent, std::ostream* out) { *out << agent.name; }
};

std::vector<Agent> agents() {
  return {
      {.name = "CertManagerSecret",
       .key_type = KeyType::kRsa2048,
       .intermediate = true,
       .same_key = true,
       .write =
           [](const TempDir& dir, const Issued& issued) {
             project(dir, issued.number,
                     {{"tls.crt", issued.server.chain_pem, 0440},
                      {"tls.key", traditional_pem(issued.server), 0440},
                      {"ca.crt", issued.trust, 0440}});
           },
       .flags = {{"--cert", "volume/tls.crt"},
                 {"--key", "volume/tls.key"},
                 {"--ca", "volume/ca.crt"}}},
      {.name = "CertManagerCombinedPem",
       .key_type = KeyType::kEcdsaP256,
       .intermediate = true,
       .same_key = false,
       .write =
           [](const TempDir& dir, const Issued& issued) {
             const std::string key = traditional_pem(issued.server);
             project(dir, issued.number,
                     {{"tls.crt", issued.server.chain_pem, 0440},
                      {"tls.key", key, 0440},
                      {"tls-combined.pem", key + "\n" + issued.server.chain_pem, 0440},
                      {"ca.crt", issued.trust, 0440}});
           },
       .flags = {{"--credentials", "volume/tls-combined.pem"}, {"--ca", "volume/ca.crt"}}},
      // A template of pkiCert: key, certificate and issuing CA, here the root, in one file. Its
      // neighbour is renamed to the name.
      {.name = "VaultAgentTemplate",
       .key_type = KeyType::kRsa2048,
       .intermediate = false,
       .same_key = false,
       .write =
           [](const TempDir& dir, const Issued& issued) {
             const auto render = [&](const std::string& name, const std::string& content,
                                     unsigned mode) {
               const fs::path beside = dir.write("1234567890", content, mode);
               fs::rename(beside, dir / name);
             };
             render("gateway.pem",
                    traditional_pem(issued.server) + issued.server.cert_pem + issued.root_pem,
                    0600);
             render("ca.pem", issued.trust, 0644);
           },
       .flags = {{"--credentials", "gateway.pem"}, {"--ca", "ca.pem"}}},
      // The same by writeToFile: three files in place, the template's order.
      {.name = "VaultAgentWriteToFile",
       .key_type = KeyType::kEcdsaP256,
       .intermediate = false,
       .same_key = false,
       .write =
           [](const TempDir& dir, const Issued& issued) {
             dir.write("private.key", traditional_pem(issued.server), 0600);
             dir.write("public.crt", issued.server.cert_pem);
             dir.write("ca.crt", issued.trust);
           },
       .flags = {{"--cert", "public.crt"}, {"--key", "private.key"}, {"--ca", "ca.crt"}}},
      // `step ca renew` keeps the key and writes the certificate in place.
      {.name = "StepRenew",
       .key_type = KeyType::kEcdsaP256,
       .intermediate = true,
       .same_key = true,
       .write =
           [](const TempDir& dir, const Issued& issued) {
             if (issued.number == 0) dir.write("svc.key", traditional_pem(issued.server), 0600);
             dir.write("svc.crt", issued.server.chain_pem, 0600);
             dir.write("root_ca.crt", issued.trust, 0600);
           },
       .flags = {{"--cert", "svc.crt"}, {"--key", "svc.key"}, {"--ca", "root_ca.crt"}}},
      // `step ca rekey`: the certificate before its key, both in place.
      {.name = "StepRekey",
       .key_type = KeyType::kEcdsaP256,
       .intermediate = true,
       .same_key = false,
       .write =
           [](const TempDir& dir, const Issued& issued) {
             dir.write("svc.crt", issued.server.chain_pem, 0600);
             dir.write("svc.key", traditional_pem(issued.server), 0600);
             dir.write("root_ca.crt", issued.trust, 0600);
           },
       .flags = {{"--cert", "svc.crt"}, {"--key", "svc.key"}, {"--ca", "root_ca.crt"}}},
      // pkg/disk/x509.go: certificate, key, bundle, each in place.
      {.name = "SpiffeHelper",
       .key_type = KeyType::kEcdsaP256,
       .intermediate = true,
       .same_key = false,
       .write =
           [](const TempDir& dir, const Issued& issued) {
             dir.write("svid.pem", issued.server.chain_pem, 0644);
             dir.write("svid_key.pem", issued.server.key_pem, 0600);
             dir.write("svid_bundle.pem", issued.trust, 0644);
           },
       .flags = {{"--cert", "svid.pem"},
                 {"--key", "svid_key.pem"},
                 {"--ca", "example.org=svid_bundle.pem"}}},
      {.name = "PodCertificateAndClusterTrustBundle",
       .key_type = KeyType::kEcdsaP384,
       .intermediate = true,
       .same_key = false,
       .write =
           [](const TempDir& dir, const Issued& issued) {
             project(
                 dir, issued.number,
                 {{"credentialbundle.pem", issued.server.key_pem + issued.server.chain_pem, 0440},
                  {"trust.pem", issued.trust, 0444}});
           },
       .flags = {{"--credentials", "volume/credentialbundle.pem"}, {"--ca", "volume/trust.pem"}}},
  };
}

class CertificateAgents : public Scenario, public ::testing::WithParamInterface<Agent> {
 protected:
  /// The agent writes a certificate of this root and the bundle; what the clients see at last.
  std::uint64_t write(const TestAuthority& of, const std::string& trust) {
    const LeafSpec spec{
        .cn = "gateway", .dns = {"orders.example.org"}, .key_type = GetParam().key_type};
    if (!key || !GetParam().same_key) key = make_key(spec.key_type);
    const Issued issued{.server = GetParam().intermediate ? of.intermediate().issue(spec, key)
                                                          : of.issue(spec, key),
                        .root_pem = of.cert_pem(),
                        .trust = trust,
                        .number = number++};
    GetParam().write(dir, issued);
    return issued.server.serial;
  }
  void start_gateway() {
    discover({backend.address()});
    std::vector<std::string> argv{sallyport_program(),
                                  "--listen",
                                  "127.0.0.1:0",
                                  "--admin",
                                  "127.0.0.1:0",
                                  "--discovery",
                                  dir / "discovery.json",
                                  "--allow",
                                  "spiffe://example.org/**"};
    for (const auto& [flag, value] : GetParam().flags) {
      const std::size_t name = value.find('=') + 1;  // 0: no scope
      argv.push_back(flag);
      argv.push_back(value.substr(0, name) + (dir / value.substr(name)).string());
    }
    gateway = std::make_unique<Gateway>(Gateway::Command{argv});
  }
  /// A client that trusts both roots.
  ClientOptions trusting(const TestCertificate& certificate) const {
    ClientOptions options = as(certificate);
    options.trust_pem = root.cert_pem() + second.cert_pem();
    return options;
  }
  void wait_shown(std::uint64_t serial) {
    wait_until("the next certificate is shown", [&] {
      TlsClient tls = connect(trusting(client));
      if (!tls.connected()) throw TestFailure("refused meanwhile: " + tls.tls_error());
      return tls.server_serial() == serial;
    });
  }

  const TestAuthority second{"Second Root"};
  const TestCertificate newcomer =
      second.issue({.spiffe = {"spiffe://example.org/ns/shop/sa/newcomer"}});
  Backend backend{echo()};
  std::shared_ptr<EVP_PKEY> key;
  int number = 0;
};

TEST_P(CertificateAgents, AreFollowed) {
  write(root, root.cert_pem());
  start_gateway();
  TlsClient live = connect(trusting(client));
  ASSERT_TRUE(live.echo("hello")) << live.tls_error();

  wait_shown(write(root, root.cert_pem()));
  wait_shown(write(second, second.cert_pem() + root.cert_pem()));
  wait_until("the second root is trusted", [&] { return bool(served(trusting(newcomer))); });
  EXPECT_TRUE(served(trusting(client)));
  EXPECT_TRUE(live.echo("still here"));
  live.close_notify();
  live.receive_all();

  write(second, second.cert_pem());
  wait_until("the first root is not trusted", [&] {
    TlsClient tls = connect(trusting(client));
    return !tls.echo("ping") && tls.alert() == kUnknownCa;
  });
  EXPECT_TRUE(served(trusting(newcomer)));
  EXPECT_EQ(reloads("failure"), 0);
}

INSTANTIATE_TEST_SUITE_P(Each, CertificateAgents, ::testing::ValuesIn(agents()),
                         [](const auto& agent) { return std::string(agent.param.name); });

}  // namespace
}  // namespace sallyport::test
