#include "tests/support/name_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>
#include <list>
#include <utility>

#include "tests/support/wait.h"

namespace sallyport::test {
namespace {

// RFC 1035 4.1.
constexpr std::size_t kHeaderSize = 12;
constexpr std::size_t kQuestionEnd = 4;  // type and class
constexpr unsigned kResponse = 0x8180;   // recursion desired and available
constexpr unsigned kTruncated = 0x0200;
constexpr std::size_t kMostDatagram = 65'535;

std::string two_bytes(unsigned value) {
  return {static_cast<char>(value >> 8 & 0xff), static_cast<char>(value & 0xff)};
}

unsigned two_bytes_at(std::string_view wire, std::size_t at) {
  return static_cast<unsigned char>(wire.at(at)) << 8 | static_cast<unsigned char>(wire.at(at + 1));
}

std::string encode(std::string_view name) {
  std::string wire;
  while (!name.empty()) {
    const std::string_view label = name.substr(0, name.find('.'));
    wire += static_cast<char>(label.size());
    wire += label;
    name.remove_prefix(std::min(name.size(), label.size() + 1));
  }
  return wire + '\0';
}

// What follows the name in a record: type and data.
std::pair<std::uint16_t, std::string> encode_data(const std::string& data) {
  std::array<char, sizeof(in6_addr)> address{};
  if (::inet_pton(AF_INET, data.c_str(), address.data()) == 1)
    return {NameServer::kA, std::string(address.data(), sizeof(in_addr))};
  if (::inet_pton(AF_INET6, data.c_str(), address.data()) == 1)
    return {NameServer::kAaaa, std::string(address.data(), sizeof(in6_addr))};
  return {NameServer::kCname, encode(data)};
}

// Names are asked for one at a time and never compressed in a question.
NameServer::Query parse(std::string wire, bool tcp) {
  NameServer::Query query{std::move(wire), {}, 0, tcp};
  std::size_t at = kHeaderSize;
  while (const auto size = static_cast<unsigned char>(query.wire.at(at))) {
    if (!query.name.empty()) query.name += '.';
    for (const char each : query.wire.substr(at + 1, size))
      query.name += static_cast<char>(std::tolower(static_cast<unsigned char>(each)));
    at += 1 + size;
  }
  query.type = static_cast<std::uint16_t>(two_bytes_at(query.wire, at + 1));
  return query;
}

std::string message(const NameServer::Query& query, const std::vector<NameServer::Record>& records,
                    unsigned flags) {
  std::string answers;
  unsigned count = 0;
  for (const NameServer::Record& record : records) {
    const auto [type, data] = encode_data(record.data);
    if (type != NameServer::kCname && type != query.type) continue;
    answers += encode(record.name) + two_bytes(type) + two_bytes(1) + two_bytes(record.ttl >> 16) +
               two_bytes(record.ttl) + two_bytes(static_cast<unsigned>(data.size())) + data;
    ++count;
  }
  const std::size_t question = query.wire.find('\0', kHeaderSize) + 1 + kQuestionEnd - kHeaderSize;
  return query.wire.substr(0, 2) + two_bytes(kResponse | flags) + two_bytes(1) + two_bytes(count) +
         two_bytes(0) + two_bytes(0) + query.wire.substr(kHeaderSize, question) + answers;
}

}  // namespace

std::string NameServer::Query::reply(const std::vector<Record>& records, int rcode) const {
  return message(*this, records, static_cast<unsigned>(rcode));
}

std::string NameServer::Query::truncated(const std::vector<Record>& records) const {
  return message(*this, records, kTruncated);
}

NameServer::NameServer(const std::string& address) : stop_(::eventfd(0, EFD_CLOEXEC)) {
  bind(address);
  thread_ = std::thread([this] { serve(); });
}

NameServer::~NameServer() {
  ::eventfd_write(stop_.get(), 1);
  thread_.join();
}

// Somebody may have the TCP port's number for UDP.
void NameServer::bind(const std::string& address) {
  for (int attempt = 0; attempt < 20; ++attempt) {
    tcp_ = listen_on(address);
    const Address at = local_address(tcp_);
    udp_ = Fd(::socket(at.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const std::string text = at.to_string();
    port_ = static_cast<std::uint16_t>(std::stoi(text.substr(text.rfind(':') + 1)));
    if (::bind(udp_.get(), at.get(), at.size) == 0) return;
  }
  throw TestFailure("no port for a name server at " + address);
}

void NameServer::set(const std::string& name, const std::vector<std::string>& data,
                     std::uint32_t ttl) {
  std::vector<Record> records;
  for (const std::string& each : data) records.push_back({name, ttl, each});
  const std::lock_guard lock(mutex_);
  records_[name] = std::move(records);
}

void NameServer::answer_by(Answer answer) {
  const std::lock_guard lock(mutex_);
  answer_ = std::move(answer);
}

// With what the name is another one for, as a resolver has it.
std::string NameServer::answer_from_records(const Query& query) const {
  const std::lock_guard lock(mutex_);
  std::vector<Record> answers;
  auto found = records_.find(query.name);
  if (found == records_.end()) return query.reply({}, kNxDomain);
  while (found != records_.end()) {
    answers.insert(answers.end(), found->second.begin(), found->second.end());
    found = found->second.empty() ? records_.end() : records_.find(found->second[0].data);
  }
  return query.reply(answers);
}

int NameServer::asked(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto found = asked_.find(name);
  return found == asked_.end() ? 0 : found->second;
}

std::vector<std::string> NameServer::answer(Query query) {
  Answer by;
  {
    const std::lock_guard lock(mutex_);
    ++asked_[query.name];
    by = answer_;
  }
  if (query.tcp) ++by_tcp_;
  if (by) return by(query);
  return {answer_from_records(query)};
}

void NameServer::serve() {
  std::list<Connection> connections;
  while (true) {
    std::vector<pollfd> polled{
        {stop_.get(), POLLIN, 0}, {udp_.get(), POLLIN, 0}, {tcp_.get(), POLLIN, 0}};
    for (const Connection& each : connections) polled.push_back({each.socket.get(), POLLIN, 0});
    if (::poll(polled.data(), polled.size(), -1) < 0) continue;
    if (polled[0].revents != 0) return;
    if (polled[1].revents != 0) serve_udp();
    auto connection = connections.begin();
    for (std::size_t i = 3; i < polled.size(); ++i, ++connection)
      if (polled[i].revents != 0) serve(*connection);
    std::erase_if(connections, [](const Connection& each) { return !each.socket; });
    if (polled[2].revents != 0)
      connections.push_back({Fd(::accept(tcp_.get(), nullptr, nullptr)), {}});
  }
}

void NameServer::serve_udp() {
  std::string wire(kMostDatagram, '\0');
  sockaddr_storage from{};
  socklen_t size = sizeof from;
  auto* const client = reinterpret_cast<sockaddr*>(&from);
  const ssize_t got = ::recvfrom(udp_.get(), wire.data(), wire.size(), 0, client, &size);
  if (got <= 0) return;  // what an earlier answer met: its port was closed
  wire.resize(static_cast<std::size_t>(got));
  for (const std::string& each : answer(parse(std::move(wire), false)))
    ::sendto(udp_.get(), each.data(), each.size(), 0, client, size);
}

// A message is preceded by its length (RFC 1035 4.2.2).
void NameServer::serve(Connection& connection) {
  std::array<char, 4096> room;
  const ssize_t got = ::recv(connection.socket.get(), room.data(), room.size(), 0);
  if (got <= 0) {
    connection.socket.close();
    return;
  }
  std::string& received = connection.received;
  received.append(room.data(), static_cast<std::size_t>(got));
  while (received.size() >= 2 && received.size() >= 2 + two_bytes_at(received, 0)) {
    const std::size_t end = 2 + two_bytes_at(received, 0);
    for (const std::string& each : answer(parse(received.substr(2, end - 2), true))) {
      const std::string framed = two_bytes(static_cast<unsigned>(each.size())) + each;
      ::send(connection.socket.get(), framed.data(), framed.size(), MSG_NOSIGNAL);
    }
    received.erase(0, end);
  }
}

}  // namespace sallyport::test
