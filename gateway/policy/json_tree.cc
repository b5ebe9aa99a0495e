#include "gateway/policy/json_tree.h"

#include <algorithm>
#include <cstddef>
#include <tuple>

namespace sallyport::gateway {

void JsonTree::add(Scalar value, unsigned line) {
  std::visit([&](auto& scalar) { place(std::move(scalar), line); }, value);
}

void JsonTree::key(std::string name, unsigned line) {
  pending_key_ = std::move(name);
  pending_line_ = line;
}

JsonValue& JsonTree::place(decltype(JsonValue::data) value, unsigned line) {
  JsonValue made{.data = std::move(value), .line = line};
  if (open_.empty()) {
    root_ = std::move(made);
    return root_;
  }
  JsonValue& parent = *open_.back();
  if (auto* array = std::get_if<JsonValue::Array>(&parent.data)) {
    return array->emplace_back(std::move(made));
  }
  auto& object = std::get<JsonValue::Object>(parent.data);
  object.push_back({std::move(pending_key_), pending_line_, std::move(made)});
  pending_key_.clear();
  return object.back().value;
}

// Pointers in open_ stay good: a container grows only while it is the innermost open one.
bool JsonTree::open(decltype(JsonValue::data) empty, unsigned line) {
  open_.push_back(&place(std::move(empty), line));
  if (open_.size() <= limits_.depth) return true;
  return fail(line, "nested deeper than " + std::to_string(limits_.depth) + " levels");
}

bool JsonTree::close_object() {
  auto& object = std::get<JsonValue::Object>(open_.back()->data);
  std::vector<const JsonMember*> sorted;
  sorted.reserve(object.size());
  for (const JsonMember& member : object) sorted.push_back(&member);
  // By place among equals, so that the second one is named.
  std::ranges::sort(sorted, [](const JsonMember* a, const JsonMember* b) {
    return std::tie(a->key, a) < std::tie(b->key, b);
  });
  const JsonMember* first = nullptr;
  const JsonMember* second = nullptr;
  for (std::size_t i = 1; i < sorted.size(); ++i) {
    if (sorted[i]->key != sorted[i - 1]->key) continue;
    if (second && sorted[i] > second) continue;
    first = sorted[i - 1];
    second = sorted[i];
  }
  if (!second) {
    open_.pop_back();
    return true;
  }
  pending_key_ = second->key;
  return fail(second->line, "duplicate key, already given on line " + std::to_string(first->line));
}

bool JsonTree::fail(unsigned line, std::string what) {
  if (!error_) error_ = ConfigError{file_, line, path(), std::move(what)};
  return false;
}

// Where the reader stands, "routes.orders.allow[1]".
std::string JsonTree::path() const {
  std::string result;
  for (std::size_t i = 0; i < open_.size(); ++i) {
    if (const auto* array = open_[i]->array()) {
      const bool innermost = i + 1 == open_.size();
      const std::size_t index = innermost ? array->size() : array->size() - 1;
      result += "[" + std::to_string(index) + "]";
      continue;
    }
    const auto& object = *open_[i]->object();
    const bool innermost = i + 1 == open_.size();
    const std::string& name = innermost ? pending_key_ : object.back().key;
    if (name.empty()) continue;
    if (!result.empty()) result += ".";
    result += printable(name);
  }
  return result;
}

}  // namespace sallyport::gateway
