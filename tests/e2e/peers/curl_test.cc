// curl, as people try it: HTTP over the hop, up and down, allowed and refused.
#include "tests/e2e/peers/peer_scenario.h"

namespace sallyport::test {
namespace {

class Curl : public PeerScenario {
 protected:
  Finished curl(const std::vector<std::string>& more = {}, bool with_certificate = true) const {
    const std::string host = std::string(kName) + ":" + port();
    std::vector<std::string> argv{"curl",   "--silent",  "--show-error",
                                  "--fail", "--http1.1", "--cacert",
                                  ca(),     "--resolve", host + ":127.0.0.1"};
    if (with_certificate) argv.insert(argv.end(), {"--cert", cert(), "--key", key()});
    argv.insert(argv.end(), more.begin(), more.end());
    argv.push_back("https://" + host + "/");
    return run(argv);
  }

  /// Answers an upload with the SHA-256 of its body.
  static void digest_upload(Fd& socket) {
    std::string request;
    while (request.find("\r\n\r\n") == std::string::npos) {
      if (receive(socket, request, request.size() + 1) != StreamEnd::kOpen) return;
    }
    const std::size_t head = request.find("\r\n\r\n") + 4;
    const std::size_t length = std::stoul(request.substr(request.find("Content-Length: ") + 16));
    if (request.find("100-continue") != std::string::npos) {
      send_all(socket, "HTTP/1.1 100 Continue\r\n\r\n");
    }
    receive(socket, request, head + length);
    const std::string answer = sha256_hex(std::string_view(request).substr(head));
    send_all(socket, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: " +
                         std::to_string(answer.size()) + "\r\n\r\n" + answer);
  }
};

TEST_F(Curl, GetsAPage) {
  Backend backend(http_server("hello from behind the gate"));
  write_files(client);
  start_for(backend);
  const Finished finished = curl();
  EXPECT_EQ(finished.status, 0) << finished.err;
  EXPECT_EQ(finished.out, "hello from behind the gate");
}

TEST_F(Curl, UploadsAndDownloadsMegabytesUnharmed) {
  const std::string big = pseudo_random(8U << 20, 20);
  {
    Backend backend(http_server(big));
    write_files(client);
    start_for(backend);
    const Finished finished = curl();
    EXPECT_EQ(finished.status, 0) << finished.err;
    EXPECT_EQ(sha256_hex(finished.out), sha256_hex(big));
  }
  finish();
  Backend backend(digest_upload);
  start_for(backend);
  const Finished finished = curl({"--data-binary", "@" + dir.write("upload", big).string()});
  EXPECT_EQ(finished.status, 0) << finished.err;
  EXPECT_EQ(finished.out, sha256_hex(big));
}

TEST_F(Curl, SpeaksTls12WhereItIsAllowed) {
  const std::string big = pseudo_random(4U << 20, 21);
  Backend backend(http_server(big));
  write_files(client);
  start_for(backend, {"--min-tls", "1.2"});
  const Finished finished = curl({"--tls-max", "1.2"});
  EXPECT_EQ(finished.status, 0) << finished.err;
  EXPECT_EQ(sha256_hex(finished.out), sha256_hex(big));
  EXPECT_EQ(gateway->wait_log({{"tls", "TLSv1.2"}}).at("reason"), "done");
}

TEST_F(Curl, IsToldThatTls12IsOff) {
  Backend backend(http_server("never"));
  write_files(client);
  start_for(backend);
  const Finished finished = curl({"--tls-max", "1.2"});
  EXPECT_NE(finished.status, 0);
  EXPECT_NE(finished.err.find("protocol version"), std::string::npos) << finished.err;
  gateway->wait_log({{"reason", "protocol_version_unsupported"}});
}

TEST_F(Curl, IsRefusedWithoutACertificate) {
  Backend backend(http_server("never"));
  write_files(client);
  start_for(backend);
  const Finished finished = curl({}, false);
  EXPECT_NE(finished.status, 0);
  EXPECT_NE(finished.err.find("certificate required"), std::string::npos) << finished.err;
  gateway->wait_log({{"reason", "certificate_required"}});
}

TEST_F(Curl, IsRefusedWithTheWrongIdentity) {
  Backend backend(http_server("never"));
  write_files(root.issue({.spiffe = {"spiffe://elsewhere.org/web"}}));
  start_for(backend);
  const Finished finished = curl();
  EXPECT_NE(finished.status, 0);
  EXPECT_NE(finished.err.find("access denied"), std::string::npos) << finished.err;
  gateway->wait_log({{"reason", "not_authorized"}});
}

TEST_F(Curl, NegotiatesItsProtocolByAlpn) {
  Backend backend(http_server("by alpn"));
  write_files(client);
  start_for(backend, {"--policy", dir.write("policy.json", R"({"routes": {"orders": {
    "alpn": ["http/1.1"], "allow": ["spiffe://example.org/**"]}}})")});
  EXPECT_EQ(curl().out, "by alpn");
  EXPECT_EQ(gateway->wait_log({{"route", "orders"}}).at("alpn"), "http/1.1");
}

}  // namespace
}  // namespace sallyport::test
