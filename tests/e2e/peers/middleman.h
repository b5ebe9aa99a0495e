// What stands between the gateway and a server, and passes on what they say to each other.
#pragma once

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>

#include "tests/support/backend.h"

namespace sallyport::test {

/// What becomes of the server's bytes, of each connection alike.
struct Passing {
  std::size_t piece = SIZE_MAX;  ///< they go out in pieces of so many
  std::size_t most = SIZE_MAX;   ///< of them; the others are lost
  bool ends = false;             ///< ends the connection behind the last one, instead of silence
};

/// Listens on an address of its own for as long as it lives.
class Middleman {
 public:
  explicit Middleman(std::string server, const Passing& passing = {})
      : server_(std::move(server)), passing_(passing) {}

  const std::string& address() const { return backend_.address(); }
  /// What the server has said so far, on all connections.
  std::string said() const { return said_.data(); }

 private:
  void pass(Fd& gateway) {
    const Fd server = connect_to(server_);
    const std::jthread to_server([&] { pass_on(gateway, server, {}, nullptr); });
    pass_on(server, gateway, passing_, &said_);
  }
  // Until one of the two has gone.
  static void pass_on(const Fd& from, const Fd& to, Passing passing, Transcript* transcript) {
    std::array<char, 16384> buffer{};
    bool goes_on = true;
    for (ssize_t size = 0;
         goes_on && (size = ::recv(from.get(), buffer.data(), buffer.size(), 0)) > 0;) {
      std::string_view rest(buffer.data(), std::min(static_cast<std::size_t>(size), passing.most));
      if (transcript != nullptr) transcript->add(rest);
      passing.most -= rest.size();
      while (goes_on && !rest.empty()) {
        const ssize_t sent =
            ::send(to.get(), rest.data(), std::min(passing.piece, rest.size()), MSG_NOSIGNAL);
        goes_on = sent > 0;
        if (goes_on) rest.remove_prefix(static_cast<std::size_t>(sent));
      }
      goes_on = goes_on && !(passing.ends && passing.most == 0);
    }
    ::shutdown(to.get(), SHUT_WR);
  }

  const std::string server_;
  const Passing passing_;
  Transcript said_;
  Backend backend_{[this](Fd& gateway) { pass(gateway); }};
};

}  // namespace sallyport::test
