#include "ktls/trust/pem_blocks.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <utility>

#include "ktls/base/ascii.h"
#include "ktls/base/base64.h"
#include "ktls/base/text_lines.h"
#include "ktls/trust/stray_base64.h"

namespace sallyport::ktls {
namespace {

constexpr std::string_view kBegin = "-----BEGIN ";
constexpr std::string_view kEnd = "-----END ";
constexpr std::string_view kDashes = "-----";

// What follows BEGIN or END, in any case, at the front of `text`; nothing: neither stands there.
std::optional<std::string_view> behind_mark_word(std::string_view text) {
  const auto lower = [](char c) { return ascii_lower(c); };
  for (const std::string_view word : {"begin", "end"}) {
    if (std::ranges::equal(text.substr(0, word.size()), word, {}, lower))
      return text.substr(word.size());
  }
  return std::nullopt;
}

// The labels of RFC 7468 and PEM_read_bio(3), in lower case.
constexpr std::string_view kLabels[] = {
    "certificate",
    "x509 certificate",
    "trusted certificate",
    "x509 crl",
    "private key",
    "rsa private key",
    "ec private key",
    "encrypted private key",
    "dsa private key",
    "any private key",
    "openssh private key",
    "public key",
    "ec parameters",
    "dh parameters",
    "pkcs7",
    "cms",
    "rsa public key",
    "certificate request",
};

bool is_label(std::string_view text) {
  return std::ranges::find(kLabels, ascii_lower(text)) != std::end(kLabels);
}

// Whether a BEGIN or END stands behind dashes, as in a mark that was spoilt, with a label that
// `has_label` takes for one of a block.
bool looks_like_mark(std::string_view text, bool (*has_label)(std::string_view)) {
  std::size_t at = 0;
  while ((at = text.find("--", at)) != std::string_view::npos) {
    at = text.find_first_not_of("- \t", at);
    if (at == std::string_view::npos) return false;
    const auto rest = behind_mark_word(text.substr(at));
    if (rest && has_label(trim(rest->substr(0, rest->find('-'))))) return true;
  }
  return false;
}

// Between blocks, what has another label is a comment ("# --- End of the roots ---"); should it be
// a spoilt mark, then the base64 behind it is seen.
bool spoils_a_block(std::string_view line) {
  return looks_like_mark(line, is_label);
}

// Within a block and in the line of its END no comment is expected: any label is one.
bool touches_a_block(std::string_view text) {
  return looks_like_mark(text, [](std::string_view) { return true; });
}

// Walks through a text once, counting lines.
class PemCutter {
 public:
  using Error = std::unexpected<CredentialsError>;

  PemCutter(std::string_view text, const std::string& file)
      : rest_(text), file_(file), line_end_(line_end(text)) {}

  std::expected<std::vector<PemBlock>, CredentialsError> cut() {
    if (const std::size_t nul = rest_.find('\0'); nul != std::string_view::npos) {
      advance(nul);
      return error(line_, "holds a NUL byte: not PEM, or in UTF-16");
    }
    std::vector<PemBlock> blocks;
    for (;;) {
      if (auto passed = pass_text(); !passed) return std::unexpected(std::move(passed.error()));
      if (rest_.empty()) return blocks;
      auto block = take_block();
      if (!block) return std::unexpected(std::move(block.error()));
      blocks.push_back(*block);
    }
  }

 private:
  // The text before the next block, or before the end.
  std::expected<void, CredentialsError> pass_text() {
    std::string_view text = rest_.substr(0, rest_.find(kBegin));
    const std::string_view before_mark = text.substr(text.rfind(line_end_) + 1);
    while (!text.empty()) {
      const std::size_t size = text.size();
      const std::string_view line = take_line(text, line_end_);
      if (line.contains(kEnd)) return error(line_, "PEM block without its BEGIN line");
      if (spoils_a_block(line)) return not_understood(line_);
      if (holds_base64(line))
        return error(line_, "base64 outside of a PEM block: it has no BEGIN line");
      advance(size - text.size());
    }
    if (!rest_.empty() && !trim(before_mark).empty())
      return error(line_, "PEM block with text before BEGIN in its line");
    return {};
  }

  // The block at whose BEGIN the rest starts.
  std::expected<PemBlock, CredentialsError> take_block() {
    const unsigned begin_line = line_;
    const auto label = take_label(kBegin);
    if (!label) return not_understood(begin_line);
    const std::size_t end = rest_.find(kDashes);
    if (end == std::string_view::npos) return error(begin_line, "PEM block without its END line");
    const std::string_view body = rest_.substr(0, end);
    const bool mark_in_body = touches_a_block(behind_dashes(body));
    advance(end);
    if (!rest_.starts_with(kEnd)) return error(begin_line, "PEM block without its END line");
    if (mark_in_body) return not_understood(begin_line);
    const unsigned end_line = line_;
    if (take_label(kEnd) != label)
      return error(end_line, "PEM block ends as another kind than it began");
    if (touches_a_block(first_line(behind_dashes(rest_), line_end_)))
      return not_understood(end_line);
    return PemBlock{.label = *label, .body = body, .line = begin_line};
  }

  // The label of the mark that the rest starts with; the rest then starts behind its dashes.
  std::optional<std::string_view> take_label(std::string_view mark) {
    const std::size_t dashes = rest_.find(kDashes, mark.size());
    if (dashes == std::string_view::npos || dashes == mark.size()) return std::nullopt;
    const std::string_view label = rest_.substr(mark.size(), dashes - mark.size());
    if (label.find_first_of("\r\n") != std::string_view::npos) return std::nullopt;
    advance(dashes + kDashes.size());
    return label;
  }

  // What follows the closing dashes of a mark, up to the next dashes of a mark, with the former in
  // front: a mark that has too few dashes of its own shows only so.
  static std::string_view behind_dashes(std::string_view text) {
    text = text.substr(0, text.find(kDashes));
    return {text.data() - kDashes.size(), text.size() + kDashes.size()};
  }

  void advance(std::size_t size) {
    line_ += static_cast<unsigned>(std::ranges::count(rest_.substr(0, size), line_end_));
    rest_.remove_prefix(size);
  }

  Error not_understood(unsigned line) const {
    return error(line, "looks like the beginning or the end of a PEM block and is none");
  }
  Error error(unsigned line, std::string what) const {
    return credentials_error(file_, line, std::move(what));
  }

  std::string_view rest_;
  const std::string& file_;
  const char line_end_;
  unsigned line_ = 1;
};

}  // namespace

std::expected<std::vector<PemBlock>, CredentialsError> cut_pem(std::string_view text,
                                                               const std::string& file) {
  return PemCutter(text, file).cut();
}

std::unique_ptr<SecretText> decode(const PemBlock& block) {
  const auto digits = static_cast<std::size_t>(
      std::ranges::count_if(block.body, [](char c) { return !is_space(c); }));
  SecretText text(digits);
  std::ranges::remove_copy_if(block.body, text.data(), is_space);
  const auto size = base64_size(text.view());
  if (!size) return nullptr;
  auto decoded = std::make_unique<SecretText>(*size);
  if (!decode_base64(text.view(), std::as_writable_bytes(std::span(decoded->data(), *size))))
    return nullptr;
  return decoded;
}

}  // namespace sallyport::ktls
