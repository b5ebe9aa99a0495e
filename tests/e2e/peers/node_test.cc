// Node.js, by a script: what a service in JavaScript does.
#include "tests/e2e/peers/peer_scenario.h"

namespace sallyport::test {
namespace {

class NodeClient : public PeerScenario {
 protected:
  Finished node(const std::string& script) {
    return run({"node", dir.write("client.js", kPrelude + script), port(), cert(), key(), ca()});
  }

  static inline const std::string kPrelude = R"(
const tls = require('tls'), fs = require('fs'), crypto = require('crypto');
const [port, cert, key, ca] = process.argv.slice(2);
const options = {host: '127.0.0.1', port: +port, servername: 'orders.example.org',
                 cert: fs.readFileSync(cert), key: fs.readFileSync(key), ca: fs.readFileSync(ca)};
const sha256 = data => crypto.createHash('sha256').update(data).digest('hex');
)";
};

TEST_F(NodeClient, EchoesMegabytesUnharmed) {
  Backend backend(echo());
  write_files(client);
  start_for(backend);
  const Finished finished = node(R"(
const data = crypto.randomBytes(4 << 20), got = [];
const socket = tls.connect(options, () => socket.end(data));
socket.on('data', chunk => got.push(chunk));
socket.on('end', () => console.log(sha256(Buffer.concat(got)) === sha256(data)
                                   ? socket.getProtocol() + ' same' : 'different'));
)");
  EXPECT_EQ(finished.status, 0) << finished.err;
  EXPECT_EQ(finished.out, "TLSv1.3 same\n");
  EXPECT_EQ(gateway->wait_log({{"identity", kWeb}}).at("reason"), "done");
}

TEST_F(NodeClient, Resumes) {
  Backend backend(echo());
  write_files(client);
  start_for(backend);
  const Finished finished = node(R"(
let session;
const first = tls.connect(options, () => first.write('x'));
first.on('session', s => { session = s; });
first.on('data', () => { const wait = setInterval(() => {
  if (!session) return;
  clearInterval(wait);
  first.end();
}, 5); });
first.on('close', () => {
  const second = tls.connect({...options, session}, () => {
    console.log(second.isSessionReused() ? 'resumed' : 'full');
    second.end('y');
  });
  second.resume();
});
)");
  EXPECT_EQ(finished.status, 0) << finished.err;
  EXPECT_EQ(finished.out, "resumed\n");
  EXPECT_EQ(gateway->wait_log({{"resumed", "true"}}).at("identity"), kWeb);
}

TEST_F(NodeClient, SeesTheAlertOfItsRefusal) {
  Backend backend(echo());
  write_files(TestAuthority("Other Root").issue({.spiffe = {kWeb}}));
  start_for(backend);
  const Finished finished = node(R"(
const socket = tls.connect(options);
socket.on('error', error => console.log(error.code));
socket.resume();
)");
  EXPECT_EQ(finished.out, "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA\n") << finished.err;
  gateway->wait_log({{"reason", "certificate_authority_invalid"}});
}

}  // namespace
}  // namespace sallyport::test
