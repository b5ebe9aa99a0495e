// Post-handshake messages over any record boundaries. Input: our role, then records, each a length
// byte and its content.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "ktls/records/post_handshake.h"

using namespace sallyport::ktls;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  PostHandshakeParser parser((data[0] & 1) != 0 ? Role::kClient : Role::kServer);
  std::span<const std::uint8_t> rest(data + 1, size - 1);
  std::size_t fed_bytes = 0;
  std::size_t message_bytes = 0;
  while (!rest.empty()) {
    const std::size_t count = std::min<std::size_t>(rest[0], rest.size() - 1);
    const auto record = std::as_bytes(rest.subspan(1, count));
    rest = rest.subspan(1 + count);
    fed_bytes += count;
    if (!parser.feed(record)) return 0;
    bool updated = false;
    while (true) {
      const auto message = parser.next();
      if (!message) return 0;
      if (!*message) break;
      // Nothing may follow a KeyUpdate in its record.
      if (updated) std::abort();
      if ((*message)->kind == PostHandshakeMessage::Kind::kKeyUpdate) {
        updated = true;
        message_bytes += 5;
      } else {
        volatile unsigned sum = 0;  // reads every byte, for the sanitizer
        for (const std::byte byte : (*message)->body) sum = sum + std::to_integer<unsigned>(byte);
        message_bytes += 4 + (*message)->body.size();
      }
    }
    if (updated && parser.mid_message()) std::abort();
    if (message_bytes > fed_bytes) std::abort();
    if (!parser.mid_message() && message_bytes != fed_bytes) std::abort();
  }
  return 0;
}
