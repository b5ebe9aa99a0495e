// gRPC's C core, by Python, and grpc-go, by etcd: HTTP/2 from a client to a server, neither of
// which knows of the gateway.
#include <optional>

#include "tests/e2e/peers/peer_scenario.h"
#include "tests/e2e/peers/tls_servers.h"

namespace sallyport::test {
namespace {

constexpr char kOrders[] = "spiffe://example.org/ns/shop/sa/orders";

// Echoes requests; with certificates it wants one of the client, too.
constexpr char kServer[] = R"(
import grpc, sys
from concurrent import futures

class Echo(grpc.GenericRpcHandler):
    def service(self, call):
        if call.method == '/demo.Echo/Once':
            return grpc.unary_unary_rpc_method_handler(lambda request, context: request)
        if call.method == '/demo.Echo/Stream':
            return grpc.stream_stream_rpc_method_handler(lambda requests, context: requests)

server = grpc.server(futures.ThreadPoolExecutor(8))
server.add_generic_rpc_handlers((Echo(),))
if len(sys.argv) > 1:
    chain, key, ca = [open(name, 'rb').read() for name in sys.argv[1:]]
    port = server.add_secure_port('127.0.0.1:0', grpc.ssl_server_credentials(
        [(key, chain)], root_certificates=ca, require_client_auth=True))
else:
    port = server.add_insecure_port('127.0.0.1:0')
server.start()
print(port, flush=True)
server.wait_for_termination()
)";

constexpr char kClient[] = R"(
import grpc, os, sys

port = sys.argv[1]
chain, key, ca = [open(name, 'rb').read() for name in sys.argv[2:]]
channel = grpc.secure_channel(
    '127.0.0.1:' + port, grpc.ssl_channel_credentials(ca, key, chain),
    [('grpc.ssl_target_name_override', 'orders.example.org'), ('grpc.enable_http_proxy', 0)])
try:
    print(channel.unary_unary('/demo.Echo/Once')(b'one', timeout=60).decode())
    messages = [os.urandom(100_000) for _ in range(50)]
    answers = channel.stream_stream('/demo.Echo/Stream')(iter(messages), timeout=60)
    print('same' if list(answers) == messages else 'different')
except grpc.RpcError as error:
    print(error.code().name)
    print(error.details(), file=sys.stderr)
channel.close()
)";

class Grpc : public PeerScenario {
 protected:
  // Returns its target.
  std::string serve(std::vector<std::string> files = {}) {
    files.insert(files.begin(), {kPython, dir.write("server.py", kServer)});
    server_.emplace(std::move(files));
    server_->wait_out("its port", [](std::string_view out) { return out.ends_with('\n'); });
    std::string port = server_->out();
    port.pop_back();
    return "127.0.0.1:" + port;
  }
  std::string serve_tls(const LeafSpec& spec = {.spiffe = {kOrders}}) {
    const TestCertificate own = root.issue(spec);
    return serve({dir.write("grpc.pem", own.chain_pem), dir.write_secret("grpc.key", own.key_pem),
                  dir.write("grpc-ca.pem", root.cert_pem())});
  }
  std::string policy(const std::string& keys) {
    return dir.write("policy.json", R"({"routes": {"orders": {"sni": ["orders.example.org"],
        "allow": ["spiffe://example.org/**"], )" +
                                        keys + "}}}");
  }
  // What the client says, and the log of its connection.
  std::string call() {
    write_files(client);
    const Finished finished =
        run({kPython, dir.write("client.py", kClient), port(), cert(), key(), ca()});
    EXPECT_EQ(finished.status, 0) << finished.err;
    return finished.out;
  }
  void expect_served() {
    EXPECT_EQ(call(), "one\nsame\n");
    line_ = gateway->wait_log({{"reason", "client_truncated"}});  // it sends no close_notify
    EXPECT_EQ(line_.at("alpn"), "h2");
    EXPECT_EQ(line_.at("identity"), kWeb);
  }

  static constexpr char kPython[] = "/usr/bin/python3";  // the one that has Debian's grpcio
  std::optional<Process> server_;
  LogLine line_;
};

TEST_F(Grpc, IsServedWithoutAPolicyFile) {
  discover({serve()});
  start({"--alpn", "h2"});
  expect_served();
}

// gRPC's C core refuses a server that confirms no protocol, as grpc-go does since its 1.67.
TEST_F(Grpc, IsNotServedWhereNoProtocolIsConfirmed) {
  discover({serve()});
  start();
  EXPECT_EQ(call(), "UNAVAILABLE\n");
}

TEST_F(Grpc, IsServedByARouteWithItsProtocol) {
  discover({serve()});
  start({"--policy", policy(R"("alpn": ["h2"])")});
  expect_served();
}

TEST_F(Grpc, IsServedByAServerOfTls) {
  discover({serve_tls()});
  start({"--policy", policy(R"("alpn": ["h2"],
      "backend-tls": {"verify": ["spiffe://example.org/ns/shop/sa/orders"], "alpn": ["h2"]})")});
  expect_served();
  EXPECT_EQ(line_.at("backend_identity"), kOrders);
}

TEST_F(Grpc, HasItsProtocolForwarded) {
  discover({serve_tls()});
  start({"--policy", policy(R"("alpn": ["h2", "http/1.1"],
      "backend-tls": {"verify": ["spiffe://example.org/ns/shop/sa/orders"], "alpn": "forward"},
      "health": {"type": "tcp", "interval": "200ms"})")});
  gateway->wait_metric("backend_healthy", {{"route", "orders"}}, 1);
  expect_served();
  EXPECT_EQ(line_.at("backend_identity"), kOrders);
}

TEST_F(Grpc, IsNotServedByAnotherServer) {
  discover({serve_tls({.spiffe = {"spiffe://example.org/ns/shop/sa/billing"}})});
  start({"--policy", policy(R"("alpn": ["h2"],
      "backend-tls": {"verify": ["spiffe://example.org/ns/shop/sa/orders"], "alpn": "forward"})")});
  EXPECT_EQ(call(), "UNAVAILABLE\n");
  EXPECT_EQ(gateway->wait_log({{"reason", "backend_not_verified"}}).at("alpn"), "h2");
}

// etcd and its client, both of grpc-go. Its releases before 1.67 take a server that confirms no
// protocol; Debian 13 has 1.64.
class GrpcGo : public PeerScenario {
 protected:
  void start_with(const std::string& policy, const std::vector<std::string>& flags = {}) {
    server = root.issue({.cn = "gateway", .dns = {"localhost"}});  // whom the client asks for
    discover({etcd_.address()});
    std::vector<std::string> all{"--policy", dir.write("policy.json", policy)};
    all.insert(all.end(), flags.begin(), flags.end());
    start(all);
    write_files(client);
  }
  std::vector<std::string> etcdctl(std::vector<std::string> command) const {
    const std::vector<std::string> before{"etcdctl",
                                          "--endpoints",
                                          "https://localhost:" + port(),
                                          "--cert",
                                          cert(),
                                          "--key",
                                          key(),
                                          "--cacert",
                                          ca(),
                                          "--command-timeout=60s",
                                          "--dial-timeout=60s"};
    command.insert(command.begin(), before.begin(), before.end());
    return command;
  }
  Finished call(const std::vector<std::string>& command, std::string_view input = {}) const {
    Finished finished = run(etcdctl(command), input, {"ETCDCTL_API=3"});
    EXPECT_EQ(finished.status, 0) << finished.err;
    return finished;
  }
  // Requests, and a stream that stays.
  void expect_served() {
    Process watching(etcdctl({"watch", "key"}), {"ETCDCTL_API=3"});
    wait_until("the watch has begun", [&] {
      call({"put", "key", "value"});
      return watching.out().ends_with("PUT\nkey\nvalue\n");
    });
    const std::string large(1'000'000, 'v');
    call({"put", "key"}, large);
    EXPECT_EQ(call({"get", "key", "--print-value-only"}).out, large + "\n");
    watching.wait_out("what was put", [&](std::string_view out) {
      return out.ends_with("PUT\nkey\n" + large + "\n");
    });
    EXPECT_EQ(gateway->wait_logs(1)[0].at("alpn"), "h2");
  }
  std::string to_etcd(const std::string& alpn) const {
    return R"({"routes": {"orders": {"allow": ["spiffe://example.org/**"], "alpn": ["h2"],
      "backend-tls": {"verify": [")" +
           std::string(kOrders) + R"("], "alpn": )" + alpn + "}}}}";
  }

  TlsServer etcd_{TlsLibrary::kGo,
                  dir,
                  {.certificate = root.issue({.dns = {"localhost"}, .spiffe = {kOrders}}),
                   .client_ca = root.cert_pem()}};
};

TEST_F(GrpcGo, IsServedByAServerOfTls) {
  start_with(to_etcd(R"(["h2"])"));
  expect_served();
  EXPECT_EQ(gateway->wait_logs(1)[0].at("backend_identity"), kOrders);
}

TEST_F(GrpcGo, HasItsProtocolForwarded) {
  start_with(to_etcd(R"("forward")"));
  expect_served();
}

}  // namespace
}  // namespace sallyport::test
