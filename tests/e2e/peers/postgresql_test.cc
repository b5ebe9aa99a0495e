// A real PostgreSQL and its own clients, in plaintext before TLS: psql asks the gateway for TLS as
// it asks its server, and the gateway asks the server in its turn.
#include <csignal>
#include <memory>
#include <random>

#include "tests/e2e/peers/peer_scenario.h"
#include "tests/e2e/peers/postgresql_server.h"

namespace sallyport::test {
namespace {

using Words = std::vector<std::string>;

// What the database's user must have in the name of its certificate, where the server asks for one.
constexpr char kUser[] = "app";

class Postgresql : public PeerScenario {
 protected:
  // One server for all, and so one authority.
  static void SetUpTestSuite() { database_ = std::make_unique<Database>(); }
  static void TearDownTestSuite() { database_.reset(); }

  Postgresql() {
    root = database_->authority;
    server = root.issue({.cn = kUser, .dns = {kName}});
    client = root.issue({.cn = "web", .spiffe = {kWeb}});
    write_files(client);
  }
  static PostgresqlServer& database() { return database_->server; }

  // `leg`: "backend-tls" of the route, or nothing.
  void start_with(const std::string& leg, Words given = {}) {
    discover({database().address()});
    const std::string policy = R"({"routes": {"orders": {"allow": ["spiffe://example.org/**"])" +
                               (leg.empty() ? "" : R"(, "backend-tls": )" + leg) + "}}}";
    const Words all{"--listen", "127.0.0.1:0,starttls=postgresql", "--policy",
                    dir.write("policy.json", policy)};
    given.insert(given.end(), all.begin(), all.end());
    start(given);
  }
  void start_with_tls_behind() {
    // PostgreSQL starts a process for each connection, before it answers.
    start_with(R"({"verify": ["dns:db.example.org"], "starttls": "postgresql"})",
               {"--connect-timeout", "30s"});
  }

  // For libpq. What is in `more` wins: the first one of a name does.
  Words environment(Words more = {}) const {
    const Words usual{
        "PGHOST=" + std::string(kName), "PGHOSTADDR=127.0.0.1",    "PGPORT=" + port(),
        "PGUSER=" + std::string(kUser), "PGDATABASE=shop",         "PGPASSWORD=secret",
        "PGSSLMODE=verify-full",        "PGSSLCERT=" + cert(),     "PGSSLKEY=" + key(),
        "PGSSLROOTCERT=" + ca(),        "PGCHANNELBINDING=disable"};
    more.insert(more.end(), usual.begin(), usual.end());
    return more;
  }
  static Words psql(const std::string& sql) {
    return {"psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql};
  }
  Finished ask(const std::string& sql, const Words& more = {}, std::string_view input = {}) const {
    return run(psql(sql), input, environment(more));
  }
  std::string answer(const std::string& sql, const Words& more = {}) const {
    const Finished asked = ask(sql, more);
    EXPECT_EQ(asked.status, 0) << asked.err;
    return asked.out;
  }
  void expect_refused(const std::string& words, const Words& more) const {
    const Finished asked = ask("SELECT 1", more);
    EXPECT_EQ(asked.status, 2) << asked.out;
    EXPECT_NE(asked.err.find(words), std::string::npos) << asked.err;
  }
  // 100,000 rows of some 60 bytes, in and out again.
  void expect_copy() const {
    std::mt19937 random(1);
    std::string rows;
    for (int i = 0; i < 100'000; ++i) {
      rows += std::to_string(i) + "\t";
      for (int j = 0; j < 12; ++j) rows += std::to_string(random() % 10'000U) + ",";
      rows += "\n";
    }
    answer("DROP TABLE IF EXISTS copied; CREATE TABLE copied (id int PRIMARY KEY, text text)");
    const Finished in = ask("COPY copied FROM STDIN", {}, rows);
    EXPECT_EQ(in.status, 0) << in.err;
    EXPECT_EQ(sha256_hex(answer("COPY (SELECT * FROM copied ORDER BY id) TO STDOUT")),
              sha256_hex(rows));
  }
  void expect_bench(const Words& how) const {
    Words argv{PostgresqlServer::program("pgbench"), "--client=4", "--jobs=2"};
    argv.insert(argv.end(), how.begin(), how.end());
    const Finished ran = run(argv, {}, environment());
    EXPECT_EQ(ran.status, 0) << ran.err;
    EXPECT_NE(ran.out.find("number of failed transactions: 0 "), std::string::npos) << ran.out;
  }
  void expect_benches() const {
    const Finished made =
        run({PostgresqlServer::program("pgbench"), "--initialize", "--quiet"}, {}, environment());
    ASSERT_EQ(made.status, 0) << made.err;
    expect_bench({"--transactions=100"});
    expect_bench({"--transactions=10", "--connect", "--select-only"});
  }

 private:
  struct Database {
    TestAuthority authority{"Mesh Root"};
    PostgresqlServer server{authority};
  };
  static std::unique_ptr<Database> database_;
};

std::unique_ptr<Postgresql::Database> Postgresql::database_;

TEST_F(Postgresql, AnswersBehindMutualTls) {
  start_with("");
  EXPECT_EQ(answer("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"), "f\n");
  const LogLine line = gateway->wait_log({{"reason", "done"}});
  EXPECT_EQ(line.at("identity"), kWeb);
  EXPECT_EQ(line.at("listener"), "127.0.0.1:0,starttls=postgresql");
  EXPECT_EQ(line.at("sni"), kName);
}

// The server sees our certificate, as `clientcert=verify-full` wants it: in the user's name.
TEST_F(Postgresql, AnswersOverMutualTlsOnBothLegs) {
  start_with_tls_behind();
  EXPECT_EQ(answer("SELECT ssl, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()"),
            "t|/CN=app\n");
  const LogLine line = gateway->wait_log({{"reason", "done"}});
  EXPECT_EQ(line.at("identity"), kWeb);
  EXPECT_EQ(line.at("backend_identity"), "dns:db.example.org");
}

// PostgreSQL names the method of authentication that it was to be, and not what it lacked.
TEST_F(Postgresql, LetsTheServerRefuseAUserThatOurCertificateDoesNotName) {
  start_with("");
  EXPECT_EQ(answer("SELECT 1", {"PGUSER=other"}), "1\n") << "the password is right";
  finish();
  start_with_tls_behind();
  expect_refused("password authentication failed for user \"other\"", {"PGUSER=other"});
}

TEST_F(Postgresql, LeavesPasswordsToTheServer) {
  start_with("");
  expect_refused("password authentication failed for user \"app\"", {"PGPASSWORD=wrong"});
  gateway->wait_log({{"reason", "done"}});
}

// The client binds its password to the certificate that it sees, the server to its own: what
// SCRAM-SHA-256-PLUS is for. docs/postgresql.md says what to do.
TEST_F(Postgresql, IsInTheMiddleForChannelBinding) {
  start_with_tls_behind();
  expect_refused("SCRAM channel binding check failed", {"PGCHANNELBINDING=prefer"});
  EXPECT_EQ(answer("SELECT 1", {"PGCHANNELBINDING=prefer", "PGDATABASE=ledger"}), "1\n")
      << "no password, nothing to bind";
}

TEST_F(Postgresql, CopiesMegabytesBothWays) {
  start_with("");
  expect_copy();
}
TEST_F(Postgresql, CopiesMegabytesBothWaysOverTlsOnBothLegs) {
  start_with_tls_behind();
  expect_copy();
}

TEST_F(Postgresql, BearsABenchmarkOverTlsOnBothLegs) {
  start_with_tls_behind();
  expect_benches();
  EXPECT_GE(gateway->metrics().sum("backend_tls_handshakes_total", {{"result", "success"}}), 40);
}

TEST_F(Postgresql, LetsNobodyInWithoutACertificate) {
  start_with("");
  expect_refused("certificate required", {"PGSSLCERT=" + (dir / "none").string()});
  gateway->wait_log({{"reason", "certificate_required"}});
}

TEST_F(Postgresql, HasNoPlaintext) {
  start_with("");
  expect_refused("server closed the connection", {"PGSSLMODE=disable", "PGGSSENCMODE=disable"});
  gateway->wait_log(
      {{"reason", "unexpected_message"}, {"detail", "a StartupMessage in plaintext"}});
}

// libpq cancels in plaintext, on a connection of its own: PQcancel(), which psql calls at an
// interrupt.
TEST_F(Postgresql, LetsNoCancelRequestThroughInPlaintext) {
  start_with("");
  Process sleeper(psql("SELECT 'woken' FROM pg_sleep(600)"), environment());
  const std::string sleeping =
      "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND "
      "query LIKE '%pg_sleep(600)%' AND usename = 'app'";
  wait_until("the query runs", [&] { return database().query(sleeping) == "1"; });
  sleeper.signal(SIGINT);
  gateway->wait_log({{"reason", "unexpected_message"}, {"detail", "a CancelRequest in plaintext"}});
  EXPECT_EQ(database().query(sleeping), "1");
  database().query("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'app'");
  EXPECT_NE(sleeper.wait(), 0);
}

class Postgresql17 : public Postgresql {
 protected:
  void SetUp() override {
    const std::string said = run({"psql", "--version"}).out;  // "psql (PostgreSQL) 17.2 (...)"
    if (std::stoi(said.substr(said.find(')') + 1)) < 17)
      GTEST_SKIP() << "no direct TLS and no encrypted cancel before libpq 17: " << said;
  }
};

TEST_F(Postgresql17, BeginsWithTlsOnBothLegs) {
  start_with(R"({"verify": ["dns:db.example.org"], "alpn": ["postgresql"]})");
  EXPECT_EQ(answer("SELECT ssl, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
                   {"PGSSLNEGOTIATION=direct"}),
            "t|/CN=app\n");
  EXPECT_EQ(gateway->wait_log({{"reason", "done"}}).at("alpn"), "postgresql");
}

TEST_F(Postgresql17, CancelsWithinTls) {
  constexpr char kScript[] = R"py(
import ctypes, time
pq = ctypes.CDLL("libpq.so.5")
for name in ("PQconnectdb", "PQcancelCreate", "PQgetResult"):
    getattr(pq, name).restype = ctypes.c_void_p
for name in ("PQerrorMessage", "PQcancelErrorMessage", "PQresultErrorMessage"):
    getattr(pq, name).restype = ctypes.c_char_p
session = ctypes.c_void_p(pq.PQconnectdb(b""))
if pq.PQsendQuery(session, b"SELECT pg_sleep(600)") != 1:
    raise SystemExit(pq.PQerrorMessage(session))
while pq.PQisBusy(session):  # a cancel that comes before the query is ignored
    cancel = ctypes.c_void_p(pq.PQcancelCreate(session))
    if pq.PQcancelBlocking(cancel) != 1:
        raise SystemExit(pq.PQcancelErrorMessage(cancel))
    pq.PQcancelFinish(cancel)
    time.sleep(0.05)
    pq.PQconsumeInput(session)
print(pq.PQresultErrorMessage(ctypes.c_void_p(pq.PQgetResult(session))).decode())
pq.PQfinish(session)
)py";
  start_with_tls_behind();
  const Finished cancelled = run({"python3", "-c", kScript}, {}, environment());
  EXPECT_EQ(cancelled.status, 0) << cancelled.err;
  EXPECT_NE(cancelled.out.find("canceling statement due to user request"), std::string::npos)
      << cancelled.out;
}

// An application of this machine needs no TLS: libpq asks for none on a unix socket. It takes no
// SCRAM there from a server that has TLS.
TEST_F(Postgresql, IsReachedByEgress) {
  discover({database().address()});
  dir.write("policy.json", R"({"routes": {"orders": {"egress": true, "backend-tls": {
      "verify": ["dns:db.example.org"], "starttls": "postgresql"}}}})");
  const std::string socket = dir / ".s.PGSQL.5432";
  start({"--egress", "unix:" + socket + "=orders", "--policy", dir / "policy.json"});
  Words there{"PGHOST=" + dir.path().string(), "PGPORT=5432", "PGHOSTADDR="};
  expect_refused("offered SCRAM-SHA-256-PLUS authentication over a non-SSL connection", there);
  there.emplace_back("PGDATABASE=ledger");
  EXPECT_EQ(answer("SELECT ssl, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()", there),
            "t|/CN=app\n");
}

}  // namespace
}  // namespace sallyport::test
