// Any bytes as a PEM file: no block is dropped, whatever stands around it. What was read of a text
// is read again when an editor has changed its line ends and put a byte order mark in front; and
// certificates, keys and ticket secrets made of it hold what they promise.
#include <openssl/err.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ktls/pem_file.h"
#include "ktls/pem_objects.h"
#include "ktls/tickets.h"

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
  std::string windows;
  for (const char c : text) windows += c == '\n' ? std::string("\r\n") : std::string(1, c);
  check_same(blocks, windows);
  std::string cr(text);
  std::ranges::replace(cr, '\n', '\r');
  check_same(blocks, cr);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto blocks = cut_pem(text, "f");
  if (blocks) {
    check(*blocks, text);
    check_edited(*blocks, text);
  } else {
    REQUIRE(blocks.error().file == "f" && blocks.error().line && *blocks.error().line >= 1);
    REQUIRE(*blocks.error().line <= 1 + count(text, "\n") + count(text, "\r"));
  }

  for (const auto use : {CertificateUse::kPresented, CertificateUse::kTrusted}) {
    const auto certificates = parse_certificates(text, "f", use);
    if (!certificates) continue;
    REQUIRE(blocks && !certificates->empty() && certificates->size() <= blocks->size());
    if (use == CertificateUse::kTrusted)
      REQUIRE(certificates->size() + count(text, "-----BEGIN EC PARAMETERS-----") +
                  count(text, "-----BEGIN DH PARAMETERS-----") ==
              blocks->size());
    for (const PemCertificate& each : *certificates)
      REQUIRE(X509_get0_pubkey(each.certificate.get()));
  }
  const auto key = parse_private_key(text, "f");
  const auto is_key = [](const PemBlock& block) { return block.label.ends_with("PRIVATE KEY"); };
  if (key) REQUIRE(blocks && std::ranges::count_if(*blocks, is_key) == 1);
  const auto secrets = TicketSecrets::parse(text, "f");
  if (secrets) REQUIRE((*secrets)->size() >= 1 && (*secrets)->size() <= TicketSecrets::kMaxSecrets);
  REQUIRE(ERR_peek_error() == 0);
  return 0;
}
