// What a ticket holds beside OpenSSL's state, and the peer trust in it: what is parsed serialises
// to the same bytes, and a piece of it is never parsed.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "ktls/trust/peer_trust.h"
#include "ktls/trust/tickets.h"

using namespace sallyport::ktls;

namespace {

template <class Value>
void check(std::span<const std::byte> bytes) {
  const auto value = Value::parse(bytes);
  if (!value) return;
  if (!std::ranges::equal(value->serialise(), bytes)) std::abort();
  if (!bytes.empty() && Value::parse(bytes.first(bytes.size() - 1))) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  check<TicketContent>(bytes);
  check<PeerTrust>(bytes);
  return 0;
}
