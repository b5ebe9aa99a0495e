#include "gateway/policy/json_document.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "gateway/policy/json_tree.h"

namespace sallyport::gateway {
namespace {

// An input iterator over text that leaves a trace of how far the lexer has read: nlohmann gives
// positions for syntax errors only, and every value of ours needs its line.
class TracedIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  TracedIterator(const char* at, const char** furthest) : at_(at), furthest_(furthest) {}
  reference operator*() const { return *at_; }
  TracedIterator& operator++() {
    *furthest_ = ++at_;
    return *this;
  }
  TracedIterator operator++(int) {
    TracedIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const TracedIterator& other) const { return at_ == other.at_; }
  bool operator!=(const TracedIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  const char** furthest_;
};

// Gives the tree its tokens. Every callback comes right after its token was read, before the next
// one is.
class TokenHandler {
 public:
  TokenHandler(std::string_view text, JsonTree& tree)
      : tree_(tree), counted_(text.data()), furthest_(text.data()) {}

  const char** furthest() { return &furthest_; }

  bool null() { return add(std::monostate{}); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(std::int64_t value) { return add(JsonNumber{value}); }
  bool number_unsigned(std::uint64_t value) {
    if (!std::in_range<std::int64_t>(value)) return add(JsonNumber{});
    return add(JsonNumber{static_cast<std::int64_t>(value)});
  }
  bool number_float(double, const std::string&) { return add(JsonNumber{}); }
  bool string(std::string& value) { return add(std::move(value)); }
  bool binary(std::vector<std::uint8_t>&) {
    return tree_.fail(line(), "binary values are not JSON");
  }
  bool start_object(std::size_t) { return tree_.open_object(line()); }
  bool start_array(std::size_t) { return tree_.open_array(line()); }
  bool end_object() { return tree_.close_object(); }
  bool end_array() {
    tree_.close_array();
    return true;
  }
  bool key(std::string& name) {
    tree_.key(std::move(name), line());
    return true;
  }

  bool parse_error(std::size_t, const std::string& last_token,
                   const nlohmann::detail::exception& e) {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error while
    // parsing value - unexpected '}'; expected ...": keep what is behind the position.
    std::string_view what = e.what();
    if (const auto at = what.find("column "); at != std::string_view::npos) {
      if (const auto colon = what.find(": ", at); colon != std::string_view::npos) {
        what.remove_prefix(colon + 2);
      }
    } else if (const auto bracket = what.find("] "); bracket != std::string_view::npos) {
      what.remove_prefix(bracket + 2);  // a number that no double holds
    }
    constexpr std::string_view kSyntaxError = "syntax error while ";
    if (what.starts_with(kSyntaxError)) what.remove_prefix(kSyntaxError.size());
    std::string_view tail;
    if (const auto at = what.find("; last read: "); at != std::string_view::npos) {
      tail = what.substr(at);
      if (const auto end = tail.find("; expected "); end != std::string_view::npos) {
        tail.remove_prefix(end);
      } else {
        tail = {};
      }
      what = what.substr(0, at);
    }
    std::string text = printable(std::string(what) + std::string(tail), 200);
    if (!last_token.empty()) text += ", after " + quoted_tail(last_token);
    return tree_.fail(line(), std::move(text));
  }

 private:
  // What was read last, to recognise the place: its end, since strings may be long.
  static std::string quoted_tail(std::string_view token) {
    constexpr std::size_t kShown = 24;
    const bool cut = token.size() > kShown;
    if (cut) token.remove_prefix(token.size() - kShown);
    return (cut ? "'..." : "'") + printable(token) + "'";
  }

  // The line of the last character of the current token. After a number the lexer has read one
  // character more, which may be the line feed; no token ends with one.
  unsigned line() { return furthest_ == counted_ ? line_ : line_at(furthest_ - 1); }

  unsigned line_at(const char* position) {
    if (position > counted_) {
      line_ += static_cast<unsigned>(std::count(counted_, position, '\n'));
      counted_ = position;
    }
    return line_;
  }

  bool add(JsonTree::Scalar value) {
    tree_.add(std::move(value), line());
    return true;
  }

  JsonTree& tree_;
  const char* counted_;   // line feeds before this are in line_
  const char* furthest_;  // how far the lexer has read
  unsigned line_ = 1;
};

}  // namespace

const JsonValue* JsonValue::find(std::string_view key) const {
  const Object* members = object();
  if (!members) return nullptr;
  const auto found = std::ranges::find(*members, key, &JsonMember::key);
  return found == members->end() ? nullptr : &found->value;
}

std::string_view JsonValue::kind() const {
  constexpr std::string_view kNames[] = {"null",     "a boolean", "a number",
                                         "a string", "an array",  "an object"};
  static_assert(std::size(kNames) == std::variant_size_v<decltype(data)>);
  return kNames[data.index()];
}

std::expected<JsonValue, ConfigError> parse_json(std::string_view text, std::string_view file,
                                                 const JsonLimits& limits) {
  if (text.size() > limits.bytes) {
    return std::unexpected(ConfigError{std::string(file), 0, "",
                                       "larger than " + std::to_string(limits.bytes) + " bytes"});
  }
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) {
    return std::unexpected(ConfigError{std::string(file), 1, "", "the file is empty"});
  }
  // The lexer would take NUL for the end of the file and never see what follows.
  if (const auto nul = text.find('\0'); nul != std::string_view::npos) {
    const auto lines = std::ranges::count(text.substr(0, nul), '\n');
    return std::unexpected(
        ConfigError{std::string(file), static_cast<unsigned>(lines + 1), "", "has a NUL byte"});
  }
  JsonTree tree(file, limits);
  TokenHandler handler(text, tree);
  const char* first = text.data();
  const TracedIterator begin(first, handler.furthest());
  const TracedIterator end(first + text.size(), handler.furthest());
  const bool whole =
      nlohmann::json::sax_parse(begin, end, &handler, nlohmann::json::input_format_t::json, true);
  if (!whole) return std::unexpected(tree.take_error());
  return tree.take();
}

}  // namespace sallyport::gateway
