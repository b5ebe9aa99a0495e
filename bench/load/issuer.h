// Client certificates, each of another peer, issued as they are needed.
#pragma once

#include <openssl/types.h>

#include <cstdint>
#include <memory>
#include <string>

namespace sallyport::bench {

/// Issues certificates of one key, for ten days: spiffe://bench.example/peer/even/N or .../odd/N,
/// N from 0 on. Dies when a file cannot be used.
class Issuer {
 public:
  /// PEM of a CA that signs leaves, and its key.
  Issuer(const std::string& certificate_file, const std::string& key_file);
  ~Issuer();
  Issuer(const Issuer&) = delete;
  Issuer& operator=(const Issuer&) = delete;

  /// Gives the next peer's certificate, its key and the issuer's certificate to a client.
  void give_next(SSL* ssl);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sallyport::bench
