// What is read of a client's first bytes, and of a ClientHello's extensions, by our own parsers.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "ktls/handshake/client_hello.h"
#include "ktls/records/record.h"

using namespace sallyport::ktls;

namespace {

bool inside(std::string_view part, std::span<const std::byte> whole) {
  const auto* begin = reinterpret_cast<const char*>(whole.data());
  return part.data() >= begin && part.data() + part.size() <= begin + whole.size();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  // More than the largest record is never waited for.
  if (!holds_record(bytes) && size >= kMaxRecordSize) std::abort();

  // However the bytes are cut, the outcome is the same.
  ClientHelloFragments at_once;
  ClientHelloFragments bytewise;
  const bool all = at_once.add(bytes);
  bool one = false;
  std::size_t given = 0;
  while (!one && given < size) one = bytewise.add(bytes.subspan(given++, 1));
  if (all != one) std::abort();
  if (bytewise.bytes().size() > 2 * kMaxRecordSize) std::abort();
  if (!all && !std::ranges::equal(at_once.bytes(), bytewise.bytes())) std::abort();

  if (const auto name = parse_server_name(bytes); name && !inside(*name, bytes)) std::abort();
  if (const auto protocols = parse_alpn(bytes)) {
    if (protocols->empty()) std::abort();
    for (const std::string_view protocol : *protocols)
      if (protocol.empty() || !inside(protocol, bytes)) std::abort();
  }
  if (names_version(bytes, 0x0304) && size < 3) std::abort();
  return 0;
}
