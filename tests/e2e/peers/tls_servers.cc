#include "tests/e2e/peers/tls_servers.h"

#include <string_view>
#include <utility>
#include <vector>

#include "tests/e2e/peers/peer_scenario.h"

namespace sallyport::test {
namespace {

struct Files {
  Files(const TempDir& dir, const TlsServerSetup& setup)
      : chain(dir.write("backend.pem", setup.certificate.chain_pem)),
        key(dir.write_secret("backend.key", setup.certificate.key_pem)) {
    if (!setup.client_ca.empty()) ca = dir.write("backend-ca.pem", setup.client_ca);
  }
  std::string ca_or_none() const { return ca.empty() ? "-" : ca; }

  std::string chain, key, ca;
};

std::string source(const std::string& name) {
  return std::string(PEER_SERVERS) + "/" + name;
}

void append(std::vector<std::string>& argv, const std::vector<std::string>& more) {
  argv.insert(argv.end(), more.begin(), more.end());
}

bool accepts(const std::string& address) {
  try {
    connect_to(address);
    return true;
  } catch (const TestFailure&) {
    return false;
  }
}

}  // namespace

const char* to_string(TlsLibrary library) {
  switch (library) {
    case TlsLibrary::kOpenssl:
      return "Openssl";
    case TlsLibrary::kGnutls:
      return "Gnutls";
    case TlsLibrary::kNode:
      return "Node";
    case TlsLibrary::kGo:
      return "Go";
    case TlsLibrary::kJava:
      return "Java";
  }
  throw TestFailure("no such TLS library");
}

TlsServer::TlsServer(TlsLibrary library, const TempDir& dir, const TlsServerSetup& setup) {
  switch (library) {
    case TlsLibrary::kOpenssl:
      start_openssl(dir, setup);
      break;
    case TlsLibrary::kGnutls:
      start_gnutls(dir, setup);
      break;
    case TlsLibrary::kNode:
      start_node(dir, setup);
      break;
    case TlsLibrary::kGo:
      start_go(dir, setup);
      break;
    case TlsLibrary::kJava:
      start_java(dir, setup);
      break;
  }
}

// Of those that choose a port themselves and say in a line where they accept, behind `before`.
void TlsServer::start_and_learn_address(std::vector<std::string> argv, const std::string& before) {
  process_ = std::make_unique<Process>(std::move(argv));
  process_->wait_out("where it accepts", [&](std::string_view out) {
    const std::size_t at = out.find(before);
    if (at == std::string_view::npos) return false;
    const std::size_t end = out.find('\n', at);
    if (end == std::string_view::npos) return false;
    address_ = out.substr(at + before.size(), end - at - before.size());
    return true;
  });
}

void TlsServer::start_openssl(const TempDir& dir, const TlsServerSetup& setup) {
  const Files files(dir, setup);
  std::vector<std::string> argv{"openssl", "s_server",  "-accept", "127.0.0.1:0", "-rev",
                                "-cert",   files.chain, "-key",    files.key};
  if (!files.ca.empty()) {
    append(argv, {"-CAfile", files.ca, setup.insists ? "-Verify" : "-verify", "3",
                  "-verify_return_error"});
  }
  if (setup.tls12) append(argv, {"-tls1_2"});
  if (setup.only_p256) append(argv, {"-groups", "P-256"});
  if (!setup.resumes) append(argv, {"-no_ticket", "-num_tickets", "0", "-no_cache"});
  answer_ = "olleh\n";
  start_and_learn_address(std::move(argv), "ACCEPT ");
}

void TlsServer::start_gnutls(const TempDir& dir, const TlsServerSetup& setup) {
  const Files files(dir, setup);
  std::string priority = "NORMAL";
  if (setup.tls12) priority += ":-VERS-ALL:+VERS-TLS1.2";
  if (setup.only_p256) priority += ":-GROUP-ALL:+GROUP-SECP256R1";
  start_on_free_port("gnutls-serv", [&](const std::string& address) {
    std::vector<std::string> argv{"gnutls-serv",
                                  "--echo",
                                  "--quiet",
                                  "--port=" + address.substr(address.rfind(':') + 1),
                                  "--priority=" + priority,
                                  "--x509certfile=" + files.chain,
                                  "--x509keyfile=" + files.key};
    if (files.ca.empty())
      append(argv, {"--disable-client-cert"});
    else
      append(argv, {"--x509cafile=" + files.ca, "--verify-client-cert"});
    if (!files.ca.empty() && setup.insists) append(argv, {"--require-client-cert"});
    if (!setup.resumes) append(argv, {"--noticket", "--nodb"});
    address_ = address;
    process_ = std::make_unique<Process>(std::move(argv));
    return eventually([&] { return accepts(address) || !process_->running(); }) &&
           process_->running();
  });
}

void TlsServer::start_node(const TempDir& dir, const TlsServerSetup& setup) {
  const Files files(dir, setup);
  start_and_learn_address(
      {"node", source("echo_server.js"), files.chain, files.key, files.ca_or_none(),
       setup.tls12 ? "TLSv1.2" : "-", setup.only_p256 ? "P-256" : "-", setup.resumes ? "-" : "none",
       setup.insists ? "-" : "optional"},
      "listens on ");
}

void TlsServer::start_go(const TempDir& dir, const TlsServerSetup& setup) {
  if (setup.tls12 || setup.only_p256 || !setup.resumes || !setup.insists)
    throw TestFailure("not of etcd");
  const Files files(dir, setup);
  request_ = "GET /version HTTP/1.1\r\nHost: etcd.test\r\n\r\n";
  answer_ = "\"}";
  start_on_free_port("etcd", [&](const std::string& address) {
    const std::string url = "https://" + address;
    const std::string peers = "http://" + RefusingAddress().address();
    std::vector<std::string> argv{"etcd",
                                  "--data-dir",
                                  dir / ("etcd-" + address),
                                  "--listen-client-urls",
                                  url,
                                  "--advertise-client-urls",
                                  url,
                                  "--listen-peer-urls",
                                  peers,
                                  "--initial-advertise-peer-urls",
                                  peers,
                                  "--initial-cluster",
                                  "default=" + peers,
                                  "--cert-file",
                                  files.chain,
                                  "--key-file",
                                  files.key};
    if (!files.ca.empty()) append(argv, {"--client-cert-auth", "--trusted-ca-file", files.ca});
    address_ = address;
    process_ = std::make_unique<Process>(std::move(argv));
    // It binds before it has elected itself, and answers when it has.
    return eventually([&] {
             return process_->err().find("ready to serve client requests") != std::string::npos ||
                    !process_->running();
           }) &&
           process_->running();
  });
}

void TlsServer::start_java(const TempDir& dir, const TlsServerSetup& setup) {
  if (!setup.resumes) throw TestFailure("not of Java");
  const Files files(dir, setup);
  std::vector<std::string> argv{"java", "-XX:TieredStopAtLevel=1", "-Xshare:auto"};
  if (setup.only_p256) append(argv, {"-Djdk.tls.namedGroups=secp256r1"});
  append(argv, {source("EchoServer.java"), files.chain, files.key, files.ca_or_none(),
                setup.tls12 ? "TLSv1.2" : "-", setup.insists ? "-" : "optional"});
  start_and_learn_address(std::move(argv), "listens on ");
}

}  // namespace sallyport::test
