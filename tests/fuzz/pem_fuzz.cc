// Any bytes as a PEM file: no block is dropped, whatever stands around it. What was read of a text
// is read again when an editor has changed its line ends and put a byte order mark in front; when a
// mark is damaged, the text is refused, or still has every block; when the marks of a block are
// spoilt whose base64 shows, the text is refused; and certificates, keys and ticket secrets made of
// it hold what they promise.
#include <openssl/err.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ktls/base/ascii.h"
#include "ktls/base/text_lines.h"
#include "ktls/trust/pem_blocks.h"
#include "ktls/trust/pem_objects.h"
#include "ktls/trust/stray_base64.h"
#include "ktls/trust/tickets.h"

namespace {

using namespace sallyport::ktls;

#define REQUIRE(condition) \
  if (!(condition)) __builtin_trap()

std::size_t count(std::string_view text, std::string_view part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1))
    ++found;
  return found;
}

bool inside(std::string_view part, std::string_view whole) {
  return part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size();
}

using Blocks = std::vector<PemBlock>;

std::size_t offset(std::string_view part, std::string_view whole) {
  return static_cast<std::size_t>(part.data() - whole.data());
}

constexpr std::string_view kBegin = "-----BEGIN ";
constexpr std::string_view kEnd = "-----END ";
constexpr std::string_view kDashes = "-----";

struct Marks {
  std::size_t begin, end;  // where they begin in the text
  std::size_t behind;      // the END
};

Marks marks_of(const PemBlock& block, std::string_view text) {
  const std::size_t end = offset(block.body, text) + block.body.size();
  const Marks marks{.begin = offset(block.label, text) - kBegin.size(),
                    .end = end,
                    .behind = end + kEnd.size() + block.label.size() + kDashes.size()};
  REQUIRE(text.substr(marks.begin).starts_with(kBegin) && text.substr(end).starts_with(kEnd));
  return marks;
}

// Nothing stands before a BEGIN in its line but the block before it.
void check_begins(const Blocks& blocks, std::string_view text) {
  std::size_t behind = 0;
  for (const PemBlock& block : blocks) {
    const Marks marks = marks_of(block, text);
    const std::string_view between = text.substr(behind, marks.begin - behind);
    REQUIRE(trim(between.substr(between.rfind(line_end(text)) + 1)).empty());
    behind = marks.behind;
  }
}

void check(const Blocks& blocks, std::string_view text) {
  REQUIRE(blocks.size() == count(text, "-----BEGIN "));
  REQUIRE(blocks.size() == count(text, "-----END "));
  unsigned line = 1;
  for (const PemBlock& block : blocks) {
    REQUIRE(inside(block.label, text) && inside(block.body, text));
    REQUIRE(block.line >= line);
    line = block.line;
    (void)decode(block);
  }
}

void check_same(const Blocks& blocks, const std::string& edited) {
  const auto again = cut_pem(edited, "f");
  REQUIRE(again && again->size() == blocks.size());
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    REQUIRE((*again)[i].label == blocks[i].label && (*again)[i].line == blocks[i].line);
    const auto before = decode(blocks[i]);
    const auto after = decode((*again)[i]);
    REQUIRE((before == nullptr) == (after == nullptr));
    REQUIRE(before == nullptr || before->view() == after->view());
  }
}

void check_edited(const Blocks& blocks, std::string_view text) {
  check_same(blocks, "\xef\xbb\xbf" + std::string(text));
  if (text.contains('\r')) return;
  for (const std::string_view end : {"\r\n", "\r\r\n", "\r"}) {
    std::string edited;
    for (const char c : text) edited += c == '\n' ? std::string(end) : std::string(1, c);
    check_same(blocks, edited);
  }
}

// A text in which one mark is damaged, beginning at `at`.
void check_damaged(const Blocks& blocks, std::string_view text, std::size_t at,
                   std::string_view mark) {
  const std::string before(text.substr(0, at));
  const std::string_view behind = text.substr(at + mark.size());
  std::string lower(mark);
  std::ranges::transform(lower, lower.begin(), [](char c) { return ascii_lower(c); });
  for (const std::string& damaged : {std::string(mark.substr(1)), lower, std::string("----- ")}) {
    const auto again = cut_pem(before + damaged + std::string(behind), "f");
    REQUIRE(!again || again->size() >= blocks.size());
  }
}

// A text in which other characters stand for the dashes of one block.
void check_spoilt(const PemBlock& block, std::string_view text, const Marks& marks) {
  if (!holds_base64(first_line(block.body, line_end(text)))) return;
  std::string spoilt(text);
  const auto spoil = [&](std::size_t at) { spoilt.replace(at, kDashes.size(), "====="); };
  spoil(marks.begin);
  spoil(offset(block.body, text) - kDashes.size());
  spoil(marks.end);
  spoil(marks.behind - kDashes.size());
  REQUIRE(!cut_pem(spoilt, "f"));
}

void check_damaged(const Blocks& blocks, std::string_view text) {
  for (const PemBlock& block : {blocks.front(), blocks.back()}) {
    const Marks marks = marks_of(block, text);
    check_damaged(blocks, text, marks.begin, kBegin);
    check_damaged(blocks, text, marks.end, kEnd);
    check_spoilt(block, text, marks);
  }
}

void check_secrets(std::string_view text) {
  const auto secrets = TicketSecrets::parse(text, "f");
  if (!secrets) return;
  REQUIRE((*secrets)->size() >= 1 && (*secrets)->size() <= TicketSecrets::kMaxSecrets);
  if (text.contains('\r') && text.contains('\n')) return;
  std::string edited = "\xef\xbb\xbf";
  for (const char c : text) edited += c == '\n' ? std::string("\t\r") : std::string(1, c);
  const auto again = TicketSecrets::parse(edited, "f");
  REQUIRE(again && (*again)->size() == (*secrets)->size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto blocks = cut_pem(text, "f");
  if (blocks) {
    check(*blocks, text);
    check_begins(*blocks, text);
    check_edited(*blocks, text);
    if (!blocks->empty()) check_damaged(*blocks, text);
  } else {
    REQUIRE(blocks.error().file == "f" && blocks.error().line && *blocks.error().line >= 1);
    REQUIRE(*blocks.error().line <= 1 + count(text, "\n") + count(text, "\r"));
  }

  for (const auto use : {CertificateUse::kPresented, CertificateUse::kTrusted}) {
    const auto certificates = parse_certificates(text, "f", use);
    if (!certificates) continue;
    REQUIRE(blocks && !certificates->empty() && certificates->size() <= blocks->size());
    if (use == CertificateUse::kTrusted)
      REQUIRE(certificates->size() + count(text, "-----BEGIN EC PARAMETERS-----") ==
              blocks->size());
    for (const PemCertificate& each : *certificates)
      REQUIRE(X509_get0_pubkey(each.certificate.get()));
  }
  const auto key = parse_private_key(text, "f");
  const auto is_key = [](const PemBlock& block) { return block.label.ends_with("PRIVATE KEY"); };
  if (key) REQUIRE(blocks && std::ranges::count_if(*blocks, is_key) == 1);
  check_secrets(text);
  REQUIRE(ERR_peek_error() == 0);
  return 0;
}
