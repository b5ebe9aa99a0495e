#include "ktls/trust/stray_base64.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "ktls/base/base64.h"
#include "ktls/base/hex.h"

namespace sallyport::ktls {
namespace {

// ---- The beginning of DER

constexpr unsigned char kInteger = 0x02;
constexpr unsigned char kObjectIdentifier = 0x06;
constexpr unsigned char kSequence = 0x30;
constexpr unsigned char kCertificateVersion = 0xa0;  // [0] of a certificate (RFC 5280 4.1)

struct DerHead {
  unsigned char tag;
  std::size_t size;  // of tag and length
  std::size_t length;
};

// Tag and length at the front of `der` (X.690 8.1.3). Lengths from 128 have one to four bytes; BER,
// which OpenSSL reads as well, may leave the length open.
std::optional<DerHead> der_head(std::span<const unsigned char> der) noexcept {
  constexpr unsigned char kLong = 0x80;
  if (der.size() < 2) return std::nullopt;
  if ((der[1] & kLong) == 0) return DerHead{.tag = der[0], .size = 2, .length = der[1]};
  if (der[1] == kLong) return DerHead{.tag = der[0], .size = 2, .length = SIZE_MAX};
  const std::size_t size = 2U + (der[1] & ~kLong);
  if (size > 6 || size > der.size()) return std::nullopt;
  DerHead head{.tag = der[0], .size = size, .length = 0};
  for (const unsigned char byte : der.subspan(2, size - 2)) head.length = head.length << 8 | byte;
  return head;
}

// Whether this is the front of a SEQUENCE as files of this kind hold: its first element is
// - a SEQUENCE: what is signed of a certificate or list, or the algorithm of a key;
// - the INTEGER of a version (PKCS #1, #8 and #12, SEC 1), or one too long for a word of letters to
//   look like it (RSA modulus);
// - the OBJECT IDENTIFIER of PKCS #7.
bool begins_object(std::span<const unsigned char> der) noexcept {
  const auto outer = der_head(der);
  if (!outer || outer->tag != kSequence) return false;
  der = der.subspan(outer->size);
  const auto first = der_head(der);
  if (!first || first->length > outer->length) return false;
  der = der.subspan(first->size);
  if (der.empty()) return false;
  switch (first->tag) {
    case kSequence:
      return der[0] == kSequence || der[0] == kCertificateVersion || der[0] == kInteger ||
             der[0] == kObjectIdentifier;
    case kInteger:
      return first->length >= 128 || (first->length == 1 && der[0] <= 3);
    case kObjectIdentifier:
      return first->length == 9 && der[0] == 0x2a;  // 1.2.840.113549.1.7
    default:
      return false;
  }
}

// Whether `text` begins with base64 of such an object.
bool begins_object_in_base64(std::string_view text) noexcept {
  std::array<char, 20> digits{};
  std::size_t count = 0;
  for (char c : text.substr(0, digits.size())) {
    if (c == '-') c = '+';  // base64url, RFC 4648 5
    if (c == '_') c = '/';
    if (!is_base64_digit(c)) break;
    digits[count++] = c;
  }
  count -= count % 4;
  std::array<unsigned char, digits.size() / 4 * 3> bytes{};
  const auto der = std::span(bytes).first(count / 4 * 3);
  return decode_base64({digits.data(), count}, std::as_writable_bytes(der)) && begins_object(der);
}

bool holds_object(std::string_view line) noexcept {
  constexpr char kFirstDigit = 'M';  // of a SEQUENCE
  for (std::size_t at = 0; (at = line.find(kFirstDigit, at)) != std::string_view::npos; ++at)
    if (begins_object_in_base64(line.substr(at))) return true;
  return false;
}

// ---- PEM within base64

// Base64 of "-----BEGIN " depends on how many bytes stand before it, modulo 3.
bool holds_begin_mark(std::string_view line) noexcept {
  return line.contains("LS0tLS1CRUdJTi") || line.contains("0tLS0tQkVHSU4g") ||
         line.contains("tLS0tLUJFR0lOI");
}

// ---- Any base64

enum class Kind { kUpper, kLower, kDecimal, kOther };

Kind kind_of(char digit) noexcept {
  if (digit >= 'A' && digit <= 'Z') return Kind::kUpper;
  if (digit >= 'a' && digit <= 'z') return Kind::kLower;
  if (digit >= '0' && digit <= '9') return Kind::kDecimal;
  return Kind::kOther;
}

// Whether the digits change between upper case, lower case and decimals at more than 45 of 100
// places. Random data in base64 does so at 64, English text in base64 at 58; names written in one
// word, as in the URLs of lists, at 20 to 35.
bool is_mixed(std::string_view digits) noexcept {
  std::size_t changes = 0;
  for (std::size_t at = 1; at < digits.size(); ++at)
    if (kind_of(digits[at - 1]) != kind_of(digits[at])) ++changes;
  return changes * 100 > digits.size() * 45;
}

bool holds_long_base64(std::string_view line) noexcept {
  constexpr std::size_t kShortest = 48;  // lines of bodies have 64 or 76; a SHA-256 has 43
  const auto belongs = [](char c) { return c != '/' && is_base64_digit(c); };
  const auto is_hex = [](char c) { return hex_digit(c) >= 0; };
  for (auto at = line.begin(); at != line.end();) {
    const auto begin = std::find_if(at, line.end(), belongs);
    at = std::find_if_not(begin, line.end(), belongs);
    const std::string_view digits(begin, at);
    if (digits.size() >= kShortest && is_mixed(digits) && !std::ranges::all_of(digits, is_hex))
      return true;
  }
  return false;
}

}  // namespace

bool holds_base64(std::string_view line) noexcept {
  return holds_object(line) || holds_begin_mark(line) || holds_long_base64(line);
}

}  // namespace sallyport::ktls
