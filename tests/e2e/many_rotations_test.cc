// Certificates, CAs, CRLs and the policy change two hundred times under hundreds of live
// connections, while new ones arrive: each change refuses exactly what it must, from the next
// handshake on, by tickets as well, and neither a connection nor a byte of the others is lost.
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

// A sanitizer's shadow memory and pace carry fewer.
constexpr int kLive = kSanitized ? 60 : 500;
constexpr int kCycles = kSanitized ? 8 : 50;  // of four rotations each

/// What went wrong on any thread; said at the end, the first few of it.
class Problems {
 public:
  void add(const std::string& what) {
    const std::scoped_lock lock(mutex_);
    if (++count_ <= 5) text_ += what + "\n";
  }
  std::string text() const {
    const std::scoped_lock lock(mutex_);
    return count_ == 0 ? "" : std::to_string(count_) + " problems: " + text_;
  }

 private:
  mutable std::mutex mutex_;
  int count_ = 0;
  std::string text_;
};

std::string said(const TlsClient& tls) {
  return std::string(to_string(tls.end())) + ", alert " + std::to_string(tls.alert().value_or(-1)) +
         " " + tls.tls_error();
}

/// Connections that stay, and the threads that make them echo, each in turn, checking every byte.
class LiveConnections {
 public:
  LiveConnections(std::vector<TlsClient> connections, Problems& problems) : problems_(problems) {
    for (TlsClient& each : connections) live_.push_back({std::move(each)});
    for (std::size_t i = 0; i < kThreads; ++i) {
      threads_.emplace_back([this, i] {
        for (unsigned round = 0; !stop_; ++round) {
          for (std::size_t n = i; n < live_.size() && !stop_; n += kThreads) echo(n, round);
        }
      });
    }
  }
  ~LiveConnections() { stop(); }

  void stop() {
    stop_ = true;
    for (std::thread& each : threads_) each.join();
    threads_.clear();
  }

  /// After stop(): each echoes once more and ends in order. What each has sent, by its address.
  std::map<std::string, std::size_t> finish() {
    std::map<std::string, std::size_t> sent;
    for (std::size_t n = 0; n < live_.size(); ++n) {
      echo(n, 0);
      TlsClient& tls = live_[n].tls;
      const std::string address = tls.local_address();
      tls.close_notify();
      if (!tls.receive_all().empty() || tls.end() != TlsEnd::kCloseNotify) {
        problems_.add("a live connection ended otherwise: " + said(tls));
      }
      sent[address] = live_[n].sent;
    }
    return sent;
  }

 private:
  static constexpr std::size_t kThreads = 2;
  struct Live {
    TlsClient tls;
    std::size_t sent = 0;
    bool broken = false;
  };

  // Mostly what a request has, now and then a bulk that takes many records and buffers.
  void echo(std::size_t n, unsigned round) {
    Live& live = live_[n];
    if (live.broken) return;
    const std::size_t size = (n + round) % 50 == 0 ? 200'000 : 100 + n * 7;
    std::string problem;
    try {
      if (!live.tls.echo(pseudo_random(size, static_cast<unsigned>(n) + round))) {
        problem = said(live.tls);
      }
    } catch (const TestFailure& failure) {
      problem = failure.what();
    }
    live.sent += size;
    live.broken = !problem.empty();
    if (live.broken) problems_.add("live connection " + std::to_string(n) + ": " + problem);
  }

  Problems& problems_;
  std::vector<Live> live_;
  std::atomic<bool> stop_ = false;
  std::vector<std::thread> threads_;
};

/// A client that comes again and again, by a full handshake and then by its ticket.
class Newcomer {
 public:
  using Connect = std::function<TlsClient(ClientOptions)>;
  Newcomer(Connect connect, ClientOptions options, Problems& problems)
      : connect_(std::move(connect)), problems_(problems) {
    options_ = std::make_shared<const ClientOptions>(std::move(options));
    thread_ = std::thread([this] {
      while (!stop_) come_twice();
    });
  }
  ~Newcomer() { stop(); }

  void stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  /// Comes with another certificate from now on; none of its connections has the earlier one when
  /// this returns.
  void becomes(ClientOptions options) {
    {
      const std::scoped_lock lock(mutex_);
      options_ = std::make_shared<const ClientOptions>(std::move(options));
    }
    const int so_far = times_;
    wait_until("a newcomer comes again", [&] { return times_ >= so_far + 2; });
  }
  int served() const { return served_; }
  int resumed() const { return resumed_; }

 private:
  void come_twice() {
    std::shared_ptr<const ClientOptions> options;
    {
      const std::scoped_lock lock(mutex_);
      options = options_;
    }
    ClientOptions again = *options;
    again.session = come(*options);
    if (again.session) come(again);
    ++times_;
  }

  std::shared_ptr<SSL_SESSION> come(const ClientOptions& options) {
    try {
      TlsClient tls = connect_(options);
      if (tls.connected() && tls.echo("hello")) {
        std::shared_ptr<SSL_SESSION> session = options.session ? nullptr : tls.session();
        tls.close_notify();
        tls.receive_all();
        if (tls.end() == TlsEnd::kCloseNotify) {
          ++served_;
          if (tls.resumed()) ++resumed_;
          return session;
        }
      }
      problems_.add("a newcomer was not served: " + said(tls));
    } catch (const TestFailure& failure) {
      problems_.add(std::string("a newcomer was not served: ") + failure.what());
    }
    return nullptr;
  }

  Connect connect_;
  Problems& problems_;
  std::mutex mutex_;
  std::shared_ptr<const ClientOptions> options_;
  std::atomic<int> times_ = 0;
  std::atomic<int> served_ = 0;
  std::atomic<int> resumed_ = 0;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

class ManyRotations : public Scenario {
 protected:
  /// One CA after the other beside the root that stays, and a client of it.
  struct Generation {
    explicit Generation(int number)
        : authority("CA " + std::to_string(number)),
          client(authority.issue(
              {.spiffe = {"spiffe://example.org/ns/shop/sa/ca-" + std::to_string(number)}})) {}
    TestAuthority authority;
    TestCertificate client;
  };

  TestCertificate guest(int number) const {
    return root.issue({.spiffe = {"spiffe://example.org/guest/" + std::to_string(number)}});
  }
  static std::string policy_for_guest(int number) {
    return R"({"routes": {"orders": {"allow": ["spiffe://example.org/ns/shop/**",)"
           R"( "spiffe://example.org/guest/)" +
           std::to_string(number) + R"("]}}})";
  }

  std::string lists(const std::vector<const Generation*>& generations) const {
    std::string all = root.crl(revoked);
    for (const Generation* each : generations) all += each->authority.crl();
    return all;
  }
  std::string bundle(const std::vector<const Generation*>& generations) const {
    std::string all = root.cert_pem();
    for (const Generation* each : generations) all += each->authority.cert_pem();
    return all;
  }

  /// Replaces the file and waits until every shard has the outcome.
  void change(const char* name, const std::string& content, const char* source = "credentials") {
    const double before = reloads("success", source);
    dir.replace(name, content);
    wait_reload("success", before, source);
  }

  /// A client of this certificate is served; its ticket.
  std::shared_ptr<SSL_SESSION> expect_served(const TestCertificate& certificate) {
    TlsClient tls = connect(as(certificate));
    EXPECT_TRUE(tls.connected() && tls.echo("ping")) << said(tls);
    std::shared_ptr<SSL_SESSION> session = tls.session();
    EXPECT_TRUE(session) << said(tls);
    tls.close_notify();
    tls.receive_all();
    ++served_here;
    return session;
  }
  /// It is refused with this alert, by a full handshake and by the ticket from when it was served.
  void expect_alert(int alert, const TestCertificate& certificate,
                    const std::shared_ptr<SSL_SESSION>& ticket = nullptr) {
    ClientOptions options = as(certificate);
    for (const bool by_ticket : {false, true}) {
      if (by_ticket && !ticket) continue;
      if (by_ticket) options.session = ticket;
      TlsClient tls = connect(options);
      EXPECT_EQ(tls.receive(1), "") << "let in" << (by_ticket ? " by its ticket" : "");
      EXPECT_EQ(tls.alert().value_or(-1), alert) << said(tls);
      ++refused[alert];
    }
  }

  /// From now on: it is tried again at the end.
  void expect_gone(int alert, const TestCertificate& certificate,
                   const std::shared_ptr<SSL_SESSION>& ticket) {
    expect_alert(alert, certificate, ticket);
    gone_for_good.emplace_back(alert, certificate);
  }

  void rotate_leaf() {
    const TestCertificate next = root.issue({.cn = "gateway", .dns = {"orders.example.org"}});
    dir.replace("gateway.key", next.key_pem, 0600);
    change("gateway.pem", next.chain_pem);
    TlsClient tls = connect();
    EXPECT_TRUE(tls.echo("ping")) << said(tls);
    EXPECT_EQ(tls.server_serial(), next.serial);
    ++served_here;
  }

  /// The list of the new CA, the new CA beside the old one, its clients, the old one's end.
  void rotate_authority(std::unique_ptr<Generation>& current, Newcomer& newcomer, int number) {
    auto next = std::make_unique<Generation>(number);
    change("crl.pem", lists({current.get(), next.get()}));
    expect_alert(kUnknownCa, next->client);
    change("ca.pem", bundle({current.get(), next.get()}));
    const auto ticket = expect_served(current->client);
    expect_served(next->client);
    newcomer.becomes(as(next->client));
    change("ca.pem", bundle({next.get()}));
    expect_gone(kUnknownCa, current->client, ticket);
    expect_served(next->client);
    current = std::move(next);
  }

  void revoke_one(const Generation& current) {
    const TestCertificate gone = root.issue({.spiffe = {"spiffe://example.org/ns/shop/sa/gone"}});
    const auto ticket = expect_served(gone);
    revoked.push_back(gone.serial);
    change("crl.pem", lists({&current}));
    expect_gone(kCertificateRevoked, gone, ticket);
  }

  void narrow_policy(int number) {
    const TestCertificate before = guest(number);
    const TestCertificate after = guest(number + 1);
    const auto ticket = expect_served(before);
    expect_alert(kAccessDenied, after);
    change("policy.json", policy_for_guest(number + 1), "policy");
    expect_gone(kAccessDenied, before, ticket);
    expect_served(after);
  }

  Backend backend{echo()};
  std::vector<std::uint64_t> revoked;
  std::vector<std::pair<int, TestCertificate>> gone_for_good;
  std::map<int, int> refused;  // by alert
  int served_here = 0;
};

TEST_F(ManyRotations, LoseNoConnectionAndLetNoneInThatTheyShouldNot) {
  auto current = std::make_unique<Generation>(0);
  start_for(backend, {"--ca", dir.write("ca.pem", bundle({current.get()})), "--crl",
                      dir.write("crl.pem", lists({current.get()})), "--policy",
                      dir.write("policy.json", policy_for_guest(0))});
  Problems problems;
  std::vector<TlsClient> connections;
  for (int i = 0; i < kLive; ++i) {
    const std::string name = "spiffe://example.org/ns/shop/sa/live-" + std::to_string(i);
    connections.push_back(connect(as(root.issue({.spiffe = {name}}))));
  }
  LiveConnections live(std::move(connections), problems);
  const auto connecting = [this](ClientOptions options) { return connect(std::move(options)); };
  Newcomer of_the_root(connecting, as(client), problems);
  Newcomer of_the_authority(connecting, as(current->client), problems);

  for (int cycle = 0; cycle < kCycles && !HasFailure() && problems.text().empty(); ++cycle) {
    rotate_leaf();
    rotate_authority(current, of_the_authority, cycle + 1);
    revoke_one(*current);
    narrow_policy(cycle);
  }
  for (const auto& [alert, certificate] : gone_for_good) expect_alert(alert, certificate);
  of_the_root.stop();
  of_the_authority.stop();
  live.stop();
  wait_until("only the live connections are left",
             [&] { return gateway->metrics().sum("connections") == kLive; });
  const std::map<std::string, std::size_t> sent = live.finish();
  EXPECT_EQ(problems.text(), "");

  // Nothing but what was to be refused was, as the gateway has it.
  const Metrics metrics = gateway->metrics();
  const auto results = [&](const char* word) {
    return metrics.sum("tls_handshakes_total", {{"result", word}});
  };
  EXPECT_EQ(results("success"),
            kLive + served_here + of_the_root.served() + of_the_authority.served());
  EXPECT_EQ(results("certificate_authority_invalid"), refused[kUnknownCa]);
  EXPECT_EQ(results("certificate_revoked"), refused[kCertificateRevoked]);
  EXPECT_EQ(results("not_authorized"), refused[kAccessDenied]);
  EXPECT_GT(of_the_root.resumed(), 0);
  EXPECT_GT(of_the_authority.resumed(), 0);
  EXPECT_EQ(reloads("failure"), 0) << gateway->process().err();

  wait_until("every connection is closed",
             [&] { return gateway->metrics().sum("connections") == 0; });
  std::size_t seen = 0;
  const auto accepted =
      static_cast<std::size_t>(gateway->metrics().sum("connections_accepted_total"));
  for (const LogLine& line : gateway->wait_logs(accepted)) {
    const auto found = sent.find(line.at("client"));
    if (found == sent.end()) continue;
    ++seen;
    EXPECT_EQ(line.at("received_bytes"), std::to_string(found->second));
    EXPECT_EQ(line.at("sent_bytes"), std::to_string(found->second));
  }
  EXPECT_EQ(seen, sent.size());
}

}  // namespace
}  // namespace sallyport::test
