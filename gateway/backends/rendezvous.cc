#include "gateway/backends/rendezvous.h"

#include <cstddef>
#include <span>

#include "ktls/trust/x509_facts.h"

namespace sallyport::gateway {

std::uint64_t rendezvous_hash(std::string_view text) {
  const ktls::Sha256 digest = ktls::sha256(std::as_bytes(std::span(text)));
  std::uint64_t hash = 0;
  for (const std::uint8_t byte : std::span(digest).first<sizeof hash>()) hash = hash << 8U | byte;
  return hash;
}

}  // namespace sallyport::gateway
