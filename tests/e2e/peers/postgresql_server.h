#pragma once

#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tests/e2e/peers/peer_scenario.h"

namespace sallyport::test {

/// A PostgreSQL with nothing of value in it, on a TCP port of its own. The users "app" and "other"
/// have the password "secret". In plaintext it wants that; over TLS also a certificate of
/// `authority` in the user's name, and for the database "ledger" that alone.
class PostgresqlServer {
 public:
  explicit PostgresqlServer(const TestAuthority& authority) {
    own_directory();
    const TestCertificate own = authority.issue({.cn = "db", .dns = {"db.example.org"}});
    give("server.crt", own.chain_pem);
    give("server.key", own.key_pem);
    give("root.crt", authority.cert_pem());
    give("hba.conf",
         "local all postgres trust\n"
         "hostssl ledger all 127.0.0.1/32 cert\n"
         "hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-full\n"
         "hostnossl all all 127.0.0.1/32 scram-sha-256\n");
    must(run(as_server({program("initdb"), "-D", data(), "-U", "postgres", "--auth=trust",
                        "--no-sync", "--no-instructions", "--locale=C", "-E", "UTF8"})));
    start_on_free_port("postgres", [this](const std::string& address) { return start(address); });
    query("CREATE ROLE app LOGIN PASSWORD 'secret'; CREATE ROLE other LOGIN PASSWORD 'secret'");
    query("CREATE DATABASE shop OWNER app");
    query("CREATE DATABASE ledger OWNER app");
  }
  ~PostgresqlServer() {
    process_->signal(SIGINT);  // at once, and in order
    process_->wait();
  }
  PostgresqlServer(const PostgresqlServer&) = delete;
  PostgresqlServer& operator=(const PostgresqlServer&) = delete;

  const std::string& address() const { return address_; }

  /// What the superuser is answered, over the unix socket: values alone, without the last newline.
  std::string query(const std::string& sql) const {
    Finished asked = run(ask(sql));
    must(asked);
    while (asked.out.ends_with('\n')) asked.out.pop_back();
    return asked.out;
  }

  /// Of the newest release that is installed. Debian has those that not every user needs out of the
  /// way.
  static std::string program(const std::string& name) {
    int newest = 0;
    for (const auto& each : std::filesystem::directory_iterator("/usr/lib/postgresql"))
      newest = std::max(newest, std::stoi(each.path().filename().string()));
    return "/usr/lib/postgresql/" + std::to_string(newest) + "/bin/" + name;
  }

 private:
  // It does not run as root.
  static std::vector<std::string> as_server(std::vector<std::string> argv) {
    if (::geteuid() != 0) return argv;
    const std::vector<std::string> other{"setpriv", "--reuid=postgres", "--regid=postgres",
                                         "--clear-groups", "--pdeathsig=INT"};
    argv.insert(argv.begin(), other.begin(), other.end());
    return argv;
  }
  static void must(const Finished& finished) {
    if (finished.status != 0) throw TestFailure(finished.out + finished.err);
  }
  void own_directory() const {
    if (::geteuid() == 0) must(run({"chown", "postgres", dir_.path().string()}));
  }
  void give(const std::string& name, const std::string& content) const {
    const std::string path = dir_.write_secret(name, content);
    if (::geteuid() == 0) must(run({"chown", "postgres", path}));
  }
  std::string data() const { return dir_ / "data"; }
  std::vector<std::string> ask(const std::string& sql) const {
    const std::string port = address_.substr(address_.rfind(':') + 1);
    return {"psql", "-X",       "-q", "-A",       "-t", "-h", dir_.path().string(), "-p", port,
            "-U",   "postgres", "-d", "postgres", "-c", sql};
  }

  bool start(const std::string& address) {
    address_ = address;
    std::vector<std::string> argv{program("postgres"),
                                  "-D",
                                  data(),
                                  "-k",
                                  dir_.path().string(),
                                  "-p",
                                  address.substr(address.rfind(':') + 1)};
    for (const std::string& setting :
         {std::string("listen_addresses=127.0.0.1"), std::string("fsync=off"),
          std::string("ssl=on"), "ssl_cert_file=" + (dir_ / "server.crt").string(),
          "ssl_key_file=" + (dir_ / "server.key").string(),
          "ssl_ca_file=" + (dir_ / "root.crt").string(),
          "hba_file=" + (dir_ / "hba.conf").string()}) {
      argv.emplace_back("-c");
      argv.push_back(setting);
    }
    process_ = std::make_unique<Process>(as_server(argv));
    eventually([this] { return run(ask("SELECT 1")).status == 0 || !process_->running(); });
    return process_->running();
  }

  TempDir dir_;
  std::string address_;
  std::unique_ptr<Process> process_;
};

}  // namespace sallyport::test
