#include "tests/deploy/fleet/fleet.h"

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <utility>

namespace sallyport::test {
namespace {

// Of HAProxy's `show stat`.
constexpr std::size_t kServer = 1;
constexpr std::size_t kStatus = 17;
constexpr std::size_t kCheckStatus = 36;

std::string read_file(const std::string& path) {
  std::ifstream in(path);
  if (!in) throw TestFailure("no " + path);
  return {std::istreambuf_iterator<char>(in), {}};
}

void replace_all(std::string& text, const std::string& what, const std::string& with) {
  std::size_t at = text.find(what);
  if (at == std::string::npos) throw TestFailure("no '" + what + "' in\n" + text);
  for (; at != std::string::npos; at = text.find(what, at + with.size())) {
    text.replace(at, what.size(), with);
  }
}

// A file of deploy/fleet, with what this machine cannot have replaced; all of it must be there.
std::string deployed(const std::string& name,
                     const std::vector<std::pair<std::string, std::string>>& replaced) {
  std::string text = read_file(DEPLOY_FLEET "/" + name);
  for (const auto& [what, with] : replaced) replace_all(text, what, with);
  return text;
}

std::vector<std::string> words_of(const std::string& text, char between = ' ') {
  std::vector<std::string> words;
  std::istringstream in(text);
  for (std::string word; std::getline(in, word, between);) {
    if (!word.empty() || between != ' ') words.push_back(word);
  }
  return words;
}

// What systemd starts by sallyport.service.d/fleet.conf.
std::vector<std::string> exec_start(const std::string& folder, const std::string& listen,
                                    const std::string& admin) {
  std::string unit = deployed("sallyport.service.d/fleet.conf",
                              {{"\\\n", ""},
                               {"${LISTEN}", listen},
                               {"${ADMIN}", admin},
                               {"/usr/bin/sallyport", sallyport_program()},
                               {"/etc/sallyport/sallyport.conf", folder + "/sallyport.conf"},
                               {"/run/sallyport/", folder + "/"}});
  const std::string key = "\nExecStart=";
  const std::size_t begin = unit.rfind(key) + key.size();
  return words_of(unit.substr(begin, unit.find('\n', begin) - begin));
}

}  // namespace

// One thread: of two that write to a pipe at once, HAProxy drops the line of one (DroppedLogs).
Balancer::Balancer(const TempDir& dir) : socket_(dir / "haproxy.sock") {
  const std::string file =
      dir.write("haproxy.cfg",
                deployed("haproxy.cfg", {{"10.0.0.", "127.0.0."},
                                         {"192.0.2.", "127.0.0."},
                                         {"log /dev/log local0", "log stdout format raw local0"},
                                         {"  user haproxy\n  group haproxy\n", ""},
                                         {"/run/haproxy/admin.sock", socket_},
                                         {"maxconn 30000", "maxconn 2000\n  nbthread 1"}}));
  process_ = std::make_unique<Process>(std::vector<std::string>{"haproxy", "-db", "-f", file});
  wait_until("HAProxy listens", [&] {
    if (!process_->running()) throw TestFailure("HAProxy has ended: " + process_->err());
    return std::filesystem::exists(socket_);
  });
}

std::string Balancer::ask(const std::string& command) const {
  const Fd socket = connect_to("unix:" + socket_);
  send_all(socket, command + "\n");
  std::string answer;
  receive_all(socket, answer);
  return answer;
}

std::string Balancer::field(const std::string& server, std::size_t index) const {
  const std::string table = ask("show stat");
  for (const std::string& line : words_of(table, '\n')) {
    const std::vector<std::string> fields = words_of(line, ',');
    if (fields.size() > index && fields[kServer] == server) return fields[index];
  }
  throw TestFailure("HAProxy knows no " + server + ":\n" + table);
}

void Balancer::wait_state(const std::string& server, const std::string& wanted) const {
  // "UP 1/3" once a check has failed.
  wait_until(server + " is " + wanted, [&] { return field(server, kStatus).starts_with(wanted); });
}

void Balancer::wait_checked(const std::string& server) const {
  wait_until(server + " is checked", [&] { return field(server, kCheckStatus) == "L7OK"; });
}

std::map<std::string, Balancer::Line> Balancer::lines(std::size_t count) const {
  std::map<std::string, Line> lines;
  const bool all = eventually([&] {
    lines.clear();
    for (const std::string& text : words_of(process_->out(), '\n')) {
      // CLIENT [DATE] mtls gateways/SERVER TIMES BYTES STATE COUNTS QUEUES
      const std::vector<std::string> fields = words_of(text);
      if (fields.size() < 8 || fields[2] != "mtls") continue;
      lines[fields[0]] = {.server = fields[3].substr(fields[3].find('/') + 1),
                          .redispatched = fields[7].contains('+')};
    }
    return lines.size() >= count;
  });
  if (all) return lines;
  throw TestFailure("HAProxy has " + std::to_string(lines.size()) + " lines, not " +
                    std::to_string(count) + ", and is at\n" + ask("show sess"));
}

void Fleet::SetUp() {
  if (!net.missing().empty()) GTEST_SKIP() << net.missing();
  backend = std::make_unique<Backend>(echo());
  ticket_keys("new");
  for (std::size_t i = 1; i <= kMembers; ++i) {
    const std::string name = "gateway-" + std::to_string(i);
    const std::string folder = dir / name;
    std::filesystem::create_directories(folder + "/state");
    std::filesystem::permissions(folder + "/state", std::filesystem::perms::owner_all);
    dir.write(name + "/ca.pem", root.cert_pem());
    dir.write_secret(name + "/gateway.pem", server.key_pem + server.chain_pem);
    dir.write(name + "/policy.json", R"({"routes": {"orders": {"sni": ["orders.example.org"],
        "allow": ["spiffe://example.org/ns/shop/sa/*"]}}})");
    dir.write(name + "/services.json",
              discovery_json({{{backend->address()}, {{"route", "orders"}}}}));
    // Thirty seconds are for people.
    dir.write(name + "/sallyport.conf",
              deployed("sallyport.conf", {{"/etc/sallyport/", folder + "/"},
                                          {"/var/lib/sallyport", folder + "/state"},
                                          {"10.0.0.", "127.0.0."},
                                          {"drain-timeout = 30s", "drain-timeout = 6s"}}));
    std::filesystem::copy(dir / "ticket-keys", folder + "/ticket-keys");
    members.push_back({.name = name,
                       .address = "127.0.0.1" + std::to_string(i) + ":8443",
                       .gateway = {},
                       .past = {}});
  }
}

void Fleet::TearDown() {
  for (Member& each : members) {
    if (each.gateway) each.gateway->signal(SIGTERM);
  }
  for (Member& each : members) {
    if (each.gateway) EXPECT_EQ(each.gateway->ended(0), "") << each.name;
  }
}

void Fleet::start_fleet(const std::vector<std::string>& flags) {
  flags_ = flags;
  for (Member& each : members) start_member(each);
  balancer = std::make_unique<Balancer>(dir);
  for (const Member& each : members) balancer->wait_checked(each.name);
}

void Fleet::start_member(Member& member) {
  std::vector<std::string> command =
      exec_start(dir / member.name, member.address,
                 member.address.substr(0, member.address.find(':')) + ":9464");
  command.insert(command.end(), {"--shards", "1"});
  command.insert(command.end(), flags_.begin(), flags_.end());
  member.gateway = std::make_unique<Gateway>(Gateway::Command{command});
}

Gateway& Fleet::retire(Member& member) {
  member.past.push_back(std::move(member.gateway));
  return *member.past.back();
}

void Fleet::kill(Member& member) {
  member.gateway->signal(SIGKILL);
  EXPECT_EQ(retire(member).ended(128 + SIGKILL), "");
  wait_until("nobody listens there", [&] {
    try {
      connect_to(member.address, kElsewhere);
      return false;
    } catch (const TestFailure&) {
      return true;
    }
  });
  deaths_.emplace_back(member.name, std::chrono::steady_clock::now());
}

bool Fleet::was_before_a_death(const Outcome& outcome, const std::string& server) const {
  return std::ranges::any_of(deaths_, [&](const auto& death) {
    return death.first == server && outcome.began < death.second;
  });
}

void Fleet::ticket_keys(const std::string& step) {
  const Finished done = run({DEPLOY_FLEET "/ticket-keys", dir / "ticket-keys", step});
  EXPECT_EQ(done.status, 0) << step << ": " << done.err;
}

void Fleet::take_ticket_keys(Member& member) {
  const Metrics::Labels good{{"source", "credentials"}, {"result", "success"}};
  const double before = member.gateway->metrics().sum("config_reloads_total", good);
  dir.replace(member.name + "/ticket-keys", read_file(dir / "ticket-keys"), 0600);
  member.gateway->wait_metric("config_reloads_total", good, before + 1);
}

ClientOptions Fleet::through_balancer(const std::string& source) const {
  ClientOptions options = as(client);
  options.source = source;
  return options;
}

std::vector<TlsClient> Fleet::hold(std::size_t count, const std::string& source) const {
  std::vector<TlsClient> held;
  for (std::size_t i = 0; i < count; ++i) {
    TlsClient& each = held.emplace_back(kFront, through_balancer(source));
    EXPECT_TRUE(each.echo("ping")) << to_string(each.end()) << each.tls_error();
  }
  return held;
}

Fleet::Member& Fleet::member_of(const TlsClient& open) {
  for (Member& each : members) {
    if (!each.gateway) continue;
    for (const LogLine& line : parse_objects(each.gateway->get("/connections?limit=10000").body)) {
      if (line.at("client") == open.local_address()) return each;
    }
  }
  throw TestFailure("no gateway has " + open.local_address());
}

std::map<std::string, Balancer::Line> Fleet::expect_agreement(const std::vector<Outcome>& outcomes,
                                                              std::size_t others) {
  auto of_balancer = balancer->lines(outcomes.size() + others);
  EXPECT_EQ(of_balancer.size(), outcomes.size() + others);

  struct OfGateway {
    std::string member;
    LogLine line;
  };
  std::multimap<std::string, OfGateway> of_gateways;
  const auto read = [&](const Member& member, const Gateway& gateway) {
    std::size_t lines = 0;
    std::size_t resumed = 0;
    for (const LogLine& line : gateway.connection_log()) {
      ++lines;
      resumed += line.contains("resumed") && line.at("resumed") == "true" ? 1 : 0;
      of_gateways.emplace(line.at("client"), OfGateway{member.name, line});
    }
    return std::pair{lines, resumed};
  };
  for (const Member& member : members) {
    for (const auto& gateway : member.past) read(member, *gateway);
    if (!member.gateway) continue;
    const Metrics metrics = member.gateway->metrics();
    const auto accepted = static_cast<std::size_t>(metrics.sum("connections_accepted_total"));
    member.gateway->wait_logs(accepted);
    const auto [lines, resumed] = read(member, *member.gateway);
    EXPECT_EQ(lines, accepted) << member.name;
    EXPECT_EQ(metrics.sum("tls_handshakes_total", {{"resumed", "true"}}), resumed) << member.name;
  }

  for (const Outcome& each : outcomes) {
    if (!each.failure.empty()) continue;
    const std::string& server = of_balancer[each.client].server;
    const auto found = of_gateways.count(each.client);
    // A process that is killed takes with it the lines that it had not written.
    if (found == 0 && was_before_a_death(each, server)) continue;
    EXPECT_EQ(found, 1U) << each.client << " by " << server;
    if (found != 1) continue;
    const auto& [member, line] = of_gateways.find(each.client)->second;
    EXPECT_EQ(line.at("reason"), "done") << each.client;
    EXPECT_EQ(line.at("resumed"), each.resumed ? "true" : "false") << each.client;
    EXPECT_TRUE(line.at("proxy").starts_with(kBalancer)) << line.at("proxy");
    EXPECT_EQ(server, member) << each.client;
  }
  return of_balancer;
}

}  // namespace sallyport::test
