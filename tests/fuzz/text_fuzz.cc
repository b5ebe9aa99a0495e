// The small readers of text that others build on: hexadecimal and UTF-8, each against what it
// writes, and texts of strangers as errors quote them.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/policy/config_error.h"
#include "ktls/base/ascii.h"
#include "ktls/base/hex.h"
#include "metrics/utf8.h"

namespace {

using namespace sallyport;

#define REQUIRE(condition) \
  if (!(condition)) __builtin_trap()

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = metrics::utf8_sequence(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

void check_hex(std::string_view text) {
  std::vector<std::byte> bytes(text.size() / 2);
  if (!ktls::decode_hex(text, bytes)) return;
  REQUIRE(ktls::encode_hex(bytes) == ktls::ascii_lower(text));
  std::vector<std::byte> again(bytes.size());
  REQUIRE(ktls::decode_hex(ktls::encode_hex(bytes, ktls::HexCase::kUpper), again));
  REQUIRE(again == bytes);
}

void check_utf8(std::string_view text) {
  const std::string valid = metrics::valid_utf8(text);
  REQUIRE(is_utf8(valid));
  REQUIRE((valid == text) == is_utf8(text));
}

void check_quoted(std::string_view text) {
  const std::string quoted = gateway::printable(text);
  REQUIRE(is_utf8(quoted));
  REQUIRE(std::ranges::none_of(
      quoted, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_hex(text);
  check_utf8(text);
  check_quoted(text);
  return 0;
}
