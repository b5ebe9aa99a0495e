// What a PostgreSQL client says before TLS: the reader answers two requests at most, each of eight
// bytes, and takes nothing for an answer's worth that is not the request to its last bit.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "gateway/connection/postgresql_opening.h"
#include "ktls/base/big_endian.h"

namespace {

using sallyport::gateway::kGssencRequestCode;
using sallyport::gateway::kPostgresqlRequestSize;
using sallyport::gateway::kSslRequestCode;
using sallyport::gateway::PostgresqlOpening;
using sallyport::ktls::from_big_endian;
using Next = PostgresqlOpening::Next;

void require(bool holds) {
  if (!holds) std::abort();
}

// Whether the request that ends at `end` has this code.
bool is_request(std::span<const std::byte> wire, std::size_t end, std::uint32_t code) {
  if (end < kPostgresqlRequestSize) return false;
  const auto request = wire.subspan(end - kPostgresqlRequestSize, kPostgresqlRequestSize);
  return from_big_endian(request) == (std::uint64_t{kPostgresqlRequestSize} << 32U | code);
}

}  // namespace

// The first byte says in pieces of what size the others come.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t piece = 1 + data[0] % 9;
  const auto wire = std::as_bytes(std::span(data + 1, size - 1));
  PostgresqlOpening opening;
  Next next = Next::kReceive;
  std::size_t given = 0;
  unsigned refused = 0;
  while (given < wire.size() && (next == Next::kReceive || next == Next::kAnswerNo)) {
    const auto bytes = wire.subspan(given, std::min(piece, wire.size() - given));
    next = opening.add(bytes);
    given += bytes.size();
    if (next == Next::kDirectTls) require(given == bytes.size() && bytes.front() == std::byte{22});
    if (next == Next::kAnswerNo) {
      require(++refused == 1 && given == kPostgresqlRequestSize);
      require(is_request(wire, given, kGssencRequestCode));
    }
    if (next == Next::kAnswerYes) {
      require(given == (1 + refused) * kPostgresqlRequestSize);
      require(is_request(wire, given, kSslRequestCode));
    }
    require((next == Next::kRefused) == !opening.error().empty());
  }
  require(given <= 2 * kPostgresqlRequestSize + piece);
  return 0;
}
