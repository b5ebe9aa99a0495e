// What PostgreSQL's clients and servers say in plaintext, before TLS.
#pragma once

#include <string>
#include <utility>

#include "tests/support/backend.h"
#include "tests/support/net.h"

namespace sallyport::test {

inline const std::string kSslRequest("\0\0\0\x08\x04\xd2\x16\x2f", 8);
inline const std::string kGssencRequest("\0\0\0\x08\x04\xd2\x16\x30", 8);
inline const std::string kCancelRequest("\0\0\0\x10\x04\xd2\x16\x2e\0\0\x30\x39secr", 16);
inline const std::string kStartupMessage("\0\0\0\x14\0\x03\0\0user\0alice\0\0", 20);

/// Answers SSLRequest, then serves. Anything else ends the connection without an answer.
inline Backend::Serve after_ssl_request(std::string answer, Backend::Serve serve) {
  return [answer = std::move(answer), serve = std::move(serve)](Fd& socket) {
    std::string request;
    if (receive(socket, request, kSslRequest.size()) != StreamEnd::kOpen) return;
    if (request != kSslRequest) return;
    send_all(socket, answer);
    serve(socket);
  };
}

}  // namespace sallyport::test
