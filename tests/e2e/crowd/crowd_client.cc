// The clients of the ten-thousand test, as a process of their own. Arguments: address, number,
// certificate chain, key. Obeys lines on standard input and answers each with one:
//   connect   opens all connections with a full handshake each          -> "connected N"
//   echo      each sends a text of its own and must get it back          -> "echoed N"
//   close     each ends with close_notify and waits for the gateway's    -> "closed N"
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "tests/support/net.h"
#include "tests/support/wait.h"

using namespace sallyport::test;

namespace {

struct Client {
  Fd socket;
  SSL* ssl = nullptr;
  bool broken = false;
};

// Source addresses in turn, so that ports are never what runs out.
Client open_one(SSL_CTX* context, const std::string& address, int index) {
  Client client;
  client.socket = connect_to(address, "127.0.0." + std::to_string(1 + index % 8) + ":0");
  client.ssl = SSL_new(context);
  SSL_set_fd(client.ssl, client.socket.get());
  SSL_set_tlsext_host_name(client.ssl, "orders.example.org");
  client.broken = SSL_connect(client.ssl) != 1;
  return client;
}

std::string text_of(std::size_t index) {
  return "I am number " + std::to_string(index) + ".";
}

template <class Action>
std::size_t count_good(std::vector<Client>& clients, Action action) {
  std::size_t good = 0;
  for (std::size_t i = 0; i < clients.size(); ++i) {
    if (!clients[i].broken && action(clients[i], i)) {
      ++good;
    } else {
      clients[i].broken = true;
    }
  }
  return good;
}

bool receive_text(SSL* ssl, const std::string& expected) {
  std::string got(expected.size(), '\0');
  std::size_t have = 0;
  while (have < got.size()) {
    const int size = SSL_read(ssl, got.data() + have, static_cast<int>(got.size() - have));
    if (size <= 0) return false;
    have += static_cast<std::size_t>(size);
  }
  return got == expected;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  std::signal(SIGPIPE, SIG_IGN);
  rlimit descriptors{};
  ::getrlimit(RLIMIT_NOFILE, &descriptors);
  descriptors.rlim_cur = descriptors.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &descriptors);

  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  if (SSL_CTX_use_certificate_chain_file(context, argv[3]) != 1 ||
      SSL_CTX_use_PrivateKey_file(context, argv[4], SSL_FILETYPE_PEM) != 1) {
    return 2;
  }
  const int count = std::atoi(argv[2]);
  std::vector<Client> clients;
  clients.reserve(static_cast<std::size_t>(count));
  for (std::string command; std::getline(std::cin, command);) {
    std::size_t good = 0;
    if (command == "connect") {
      for (int i = 0; i < count; ++i) clients.push_back(open_one(context, argv[1], i));
      for (const Client& client : clients) good += client.broken ? 0U : 1U;
      std::cout << "connected " << good << std::endl;
    } else if (command == "echo") {
      // All are under way at once: first each sends, then each receives.
      count_good(clients, [](Client& client, std::size_t i) {
        const std::string text = text_of(i);
        return SSL_write(client.ssl, text.data(), static_cast<int>(text.size())) > 0;
      });
      good = count_good(clients, [](Client& client, std::size_t i) {
        return receive_text(client.ssl, text_of(i));
      });
      std::cout << "echoed " << good << std::endl;
    } else if (command == "close") {
      count_good(clients,
                 [](Client& client, std::size_t) { return SSL_shutdown(client.ssl) >= 0; });
      good = count_good(clients, [](Client& client, std::size_t) {
        char byte = 0;
        return SSL_read(client.ssl, &byte, 1) <= 0 &&
               (SSL_get_shutdown(client.ssl) & SSL_RECEIVED_SHUTDOWN) != 0;
      });
      std::cout << "closed " << good << std::endl;
    }
  }
  return 0;
}
