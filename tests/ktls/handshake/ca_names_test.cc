// The names of CAs in a CertificateRequest. Beyond 8 KiB they were dropped without a word, for the
// clients of every route.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "ktls/trust/x509_facts.h"
#include "tests/ktls/handshake/loopback.h"

namespace sallyport::ktls::testing {
namespace {

using test::TestAuthority;
using Step = ServerHandshake::Step;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

using Domains = std::vector<std::string>;

class CaNamesTest : public ::testing::Test {
 protected:
  CaNamesTest() { pki.files.ca.clear(); }

  void trust(std::optional<std::string> domain, const std::string& pem) {
    const std::string file = "ca" + std::to_string(pki.files.ca.size()) + ".pem";
    pki.files.ca.push_back({std::move(domain), pki.dir.write(file, pem)});
  }
  /// What a client is sent that these may be.
  std::vector<std::string> names_for(const Domains* clients) {
    RoutedHandshake server(pki.context(), any_route());
    server.clients = clients;
    MemoryClient client({});
    shuttle(server, client);
    std::vector<std::string> names;
    const STACK_OF(X509_NAME)* const sent = SSL_get0_peer_CA_list(client.ssl());
    for (int i = 0; i < sk_X509_NAME_num(sent); ++i)
      names.push_back(name_text(sk_X509_NAME_value(sent, i)));
    return names;
  }
  static std::string many_roots() {
    std::string pem;
    for (int i = 0; i < 130; ++i)
      pem += TestAuthority("Root " + std::to_string(i) + " " + std::string(50, 'x')).cert_pem();
    return pem;
  }

  TestServer pki;
};

TEST_F(CaNamesTest, AreThoseOfTheBundlesEachOnce) {
  const TestAuthority root{"A"};
  trust(std::nullopt,
        root.cert_pem() + TestAuthority("A").cert_pem() + root.intermediate("Between").cert_pem());
  trust("b.example", TestAuthority("B").cert_pem() + root.cert_pem());
  const Domains none;
  EXPECT_THAT(names_for(nullptr), ElementsAre("CN=A", "CN=Between", "CN=B"));
  EXPECT_THAT(names_for(&none), ElementsAre("CN=A", "CN=Between", "CN=B")) << "all of them fit";
}

TEST_F(CaNamesTest, AreThoseForTheClientsOfARouteWhereNotAllFit) {
  trust("a.example", many_roots());
  trust("b.example", TestAuthority("B").cert_pem());
  trust(std::nullopt, TestAuthority("Anyone's").cert_pem());
  const Domains b{"b.example"};
  EXPECT_THAT(names_for(&b), ElementsAre("CN=B", "CN=Anyone's"));
  const Domains names_only;
  EXPECT_THAT(names_for(&names_only), ElementsAre("CN=Anyone's"));
  const Domains both{"a.example", "b.example"};
  EXPECT_THAT(names_for(&both), IsEmpty()) << "a part of them would keep clients from answering";
  EXPECT_THAT(names_for(nullptr), IsEmpty());
}

}  // namespace
}  // namespace sallyport::ktls::testing
