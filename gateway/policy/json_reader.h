// What the readers of the policy file's parts have in common.
#pragma once

#include <cstddef>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "gateway/policy/config_error.h"
#include "gateway/policy/json_document.h"

namespace sallyport::gateway {

/// Makes errors that name file, line and key, and checks kinds of values.
class JsonReader {
 public:
  using Outcome = std::expected<void, ConfigError>;
  /// Of a member of an object; none: its key is unknown.
  using Known = std::optional<Outcome>;

  explicit JsonReader(std::string_view file) : file_(file) {}

  [[nodiscard]] const std::string& file() const { return file_; }
  [[nodiscard]] std::unexpected<ConfigError> refuse(unsigned line, std::string key,
                                                    std::string what) const {
    return std::unexpected(ConfigError{file_, line, std::move(key), std::move(what)});
  }
  /// `value` is a non-empty array of strings.
  [[nodiscard]] Outcome check_strings(const JsonValue& value, const std::string& key) const;
  /// `value` is a non-empty string.
  [[nodiscard]] Outcome check_text(const JsonValue& value, const std::string& key) const;
  [[nodiscard]] Outcome check_object(const JsonValue& value, const std::string& key) const;
  /// `value` is an object: `read` gets each member in turn, and the key that names its place, and
  /// returns Known. The first error ends it; an unknown key is one.
  template <class Read>
  [[nodiscard]] Outcome read_object(const JsonValue& value, const std::string& key,
                                    Read read) const;
  [[nodiscard]] Outcome read_bool(bool& target, const JsonValue& value,
                                  const std::string& key) const;
  /// `value` is the word that `word_of` gives for one of `all`.
  template <class Enumerator, std::size_t N, class WordOf>
  [[nodiscard]] Outcome read_word(Enumerator& target, const Enumerator (&all)[N], WordOf word_of,
                                  const JsonValue& value, const std::string& key) const;

 private:
  std::string file_;
};

template <class Read>
JsonReader::Outcome JsonReader::read_object(const JsonValue& value, const std::string& key,
                                            Read read) const {
  if (auto checked = check_object(value, key); !checked) return checked;
  for (const JsonMember& member : *value.object()) {
    const std::string place = key + "." + printable(member.key);
    const Known known = read(member, place);
    if (!known) return refuse(member.line, place, "unknown key");
    if (!*known) return *known;
  }
  return {};
}

template <class Enumerator, std::size_t N, class WordOf>
JsonReader::Outcome JsonReader::read_word(Enumerator& target, const Enumerator (&all)[N],
                                          WordOf word_of, const JsonValue& value,
                                          const std::string& key) const {
  std::string words;
  for (const Enumerator candidate : all) {
    if (value.string() && *value.string() == word_of(candidate)) {
      target = candidate;
      return {};
    }
    words += (words.empty() ? "" : ", ") + std::string(word_of(candidate));
  }
  return refuse(value.line, key, "must be one of " + words);
}

/// "list[index]"
[[nodiscard]] std::string item_key(const std::string& list, std::size_t index);

}  // namespace sallyport::gateway
