// What the readers of the policy file's parts have in common.
#pragma once

#include <cstddef>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/policy/config_error.h"
#include "gateway/policy/json_document.h"
#include "gateway/policy/suggestion.h"

namespace sallyport::gateway {

/// A member of an object, while a reader finds out what its key is. Remembers the keys that there
/// are, so that a misspelt one is told which of them it is most like. As long as its member lives.
class ReadMember {
 public:
  /// `known` outlives it, and gets what the key is compared with.
  ReadMember(const JsonMember& of, std::vector<std::string_view>& known)
      : member(of), value(of.value), known_(known) {}
  ReadMember(const ReadMember&) = delete;
  ReadMember& operator=(const ReadMember&) = delete;

  /// Whether the key is this one, of static storage.
  [[nodiscard]] bool is(std::string_view key) const {
    known_.push_back(key);
    return member.key == key;
  }

  const JsonMember& member;
  const JsonValue& value;

 private:
  std::vector<std::string_view>& known_;
};

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
  /// `value` is an object: `read` gets each member in turn, a ReadMember, and the key that names
  /// its place, and returns Known. The first error ends it; an unknown key is one.
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
  std::vector<std::string_view> keys;
  for (const JsonMember& member : *value.object()) {
    keys.clear();
    const std::string place = key + "." + printable(member.key);
    const Known known = read(ReadMember(member, keys), place);
    if (!known) return refuse(member.line, place, "unknown key" + did_you_mean(member.key, keys));
    if (!*known) return *known;
  }
  return {};
}

template <class Enumerator, std::size_t N, class WordOf>
JsonReader::Outcome JsonReader::read_word(Enumerator& target, const Enumerator (&all)[N],
                                          WordOf word_of, const JsonValue& value,
                                          const std::string& key) const {
  std::string list;
  std::vector<std::string_view> words;
  for (const Enumerator candidate : all) {
    words.push_back(word_of(candidate));
    if (value.string() && *value.string() == words.back()) {
      target = candidate;
      return {};
    }
    list += (list.empty() ? "" : ", ") + std::string(words.back());
  }
  const std::string near = value.string() ? did_you_mean(*value.string(), words) : "";
  return refuse(value.line, key, "must be one of " + list + near);
}

/// "list[index]"
[[nodiscard]] std::string item_key(const std::string& list, std::size_t index);

}  // namespace sallyport::gateway
