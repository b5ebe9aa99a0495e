#include "gateway/backends/yaml_document.h"

#include <yaml.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <new>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "gateway/policy/json_tree.h"

namespace sallyport::gateway {
namespace {

class Parser {
 public:
  explicit Parser(std::string_view text) {
    if (yaml_parser_initialize(&parser_) == 0) throw std::bad_alloc();
    yaml_parser_set_encoding(&parser_, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text.data()),
                                 text.size());
  }
  ~Parser() { yaml_parser_delete(&parser_); }
  Parser(const Parser&) = delete;
  Parser& operator=(const Parser&) = delete;

  yaml_parser_t* get() { return &parser_; }

 private:
  yaml_parser_t parser_{};
};

// The next one of a document. Empty, with type YAML_NO_EVENT, where there is an error.
class Event {
 public:
  explicit Event(Parser& parser) : good_(yaml_parser_parse(parser.get(), &event_) != 0) {}
  ~Event() { yaml_event_delete(&event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  [[nodiscard]] bool good() const { return good_; }
  const yaml_event_t* operator->() const { return &event_; }

 private:
  yaml_event_t event_{};
  bool good_;
};

bool is_null(const yaml_event_t& event, std::string_view text) {
  constexpr std::array<std::string_view, 5> kNulls{"", "~", "null", "Null", "NULL"};
  return event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
         std::ranges::find(kNulls, text) != kNulls.end();
}

class YamlReader {
 public:
  YamlReader(std::string_view text, std::string_view file, const JsonLimits& limits)
      : text_(text), parser_(text), tree_(file, limits) {}

  std::expected<JsonValue, ConfigError> read() {
    while (!ended_) {
      const Event event(parser_);
      const bool taken = event.good() ? take(*event.operator->()) : fail_as_parser();
      if (!taken) return std::unexpected(tree_.take_error());
    }
    return tree_.take();
  }

 private:
  // A collection that is open. A mapping's keys and values take turns.
  struct Open {
    bool mapping = false;
    bool awaits_key = false;
  };

  bool take(const yaml_event_t& event) {
    line_ = static_cast<unsigned>(event.start_mark.line) + 1;
    switch (event.type) {
      case YAML_DOCUMENT_START_EVENT:
        if (std::exchange(begun_, true)) return fail("a second document begins");
        return true;
      case YAML_ALIAS_EVENT:
        return fail("aliases are not supported");
      case YAML_SCALAR_EVENT:
        return check_plainness(event.data.scalar.anchor, event.data.scalar.tag) && scalar(event);
      case YAML_SEQUENCE_START_EVENT:
        return check_plainness(event.data.sequence_start.anchor, event.data.sequence_start.tag) &&
               open(false);
      case YAML_MAPPING_START_EVENT:
        return check_plainness(event.data.mapping_start.anchor, event.data.mapping_start.tag) &&
               open(true);
      case YAML_SEQUENCE_END_EVENT:
        open_.pop_back();
        tree_.close_array();
        return value_is_whole();
      case YAML_MAPPING_END_EVENT:
        open_.pop_back();
        return tree_.close_object() && value_is_whole();
      case YAML_STREAM_END_EVENT:
        ended_ = true;
        return begun_ || fail("the file is empty");
      default:
        return true;
    }
  }

  bool check_plainness(const yaml_char_t* anchor, const yaml_char_t* tag) {
    if (anchor != nullptr) return fail("anchors are not supported");
    if (tag != nullptr) return fail("tags are not supported");
    return true;
  }

  bool scalar(const yaml_event_t& event) {
    std::string text(reinterpret_cast<const char*>(event.data.scalar.value),
                     event.data.scalar.length);
    if (awaits_key()) {
      if (text == "<<") return fail("merge keys are not supported");
      open_.back().awaits_key = false;
      tree_.key(std::move(text), line_);
      return true;
    }
    if (is_null(event, text)) {
      tree_.add(std::monostate{}, line_);
    } else {
      tree_.add(std::move(text), line_);
    }
    return value_is_whole();
  }

  bool open(bool mapping) {
    if (awaits_key()) return fail("a key must be a text");
    open_.push_back({.mapping = mapping, .awaits_key = mapping});
    return mapping ? tree_.open_object(line_) : tree_.open_array(line_);
  }

  [[nodiscard]] bool awaits_key() const { return !open_.empty() && open_.back().awaits_key; }

  bool value_is_whole() {
    if (!open_.empty()) open_.back().awaits_key = open_.back().mapping;
    return true;
  }

  bool fail(std::string what) { return tree_.fail(line_, std::move(what)); }

  bool fail_as_parser() {
    const yaml_parser_t& parser = *parser_.get();
    if (parser.error == YAML_MEMORY_ERROR) throw std::bad_alloc();
    const auto text = [](const char* words) { return std::string(words != nullptr ? words : ""); };
    if (parser.error == YAML_READER_ERROR) {  // its place is an offset
      const auto before = text_.substr(0, std::min(parser.problem_offset, text_.size()));
      line_ = static_cast<unsigned>(std::ranges::count(before, '\n')) + 1;
      return fail(text(parser.problem));
    }
    line_ = static_cast<unsigned>(parser.problem_mark.line) + 1;
    const std::string context = text(parser.context);
    return fail((context.empty() ? "" : context + ": ") + text(parser.problem));
  }

  std::string_view text_;
  Parser parser_;
  JsonTree tree_;
  std::vector<Open> open_;
  unsigned line_ = 1;
  bool begun_ = false;
  bool ended_ = false;
};

}  // namespace

std::expected<JsonValue, ConfigError> parse_yaml(std::string_view text, std::string_view file,
                                                 const JsonLimits& limits) {
  if (text.size() > limits.bytes) {
    return std::unexpected(ConfigError{std::string(file), 0, "",
                                       "larger than " + std::to_string(limits.bytes) + " bytes"});
  }
  return YamlReader(text, file, limits).read();
}

}  // namespace sallyport::gateway
