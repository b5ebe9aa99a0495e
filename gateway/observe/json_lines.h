#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace sallyport::gateway {

/// A JSON array that is added to as its values come, one a line.
class JsonLines {
 public:
  /// `before`: what the text begins with.
  explicit JsonLines(std::string before = {}) : text_(std::move(before)) { text_ += '['; }

  /// JSON text without a line end.
  void add(std::string_view value) {
    text_ += empty_ ? "\n" : ",\n";
    empty_ = false;
    text_ += value;
  }

  /// The whole text, with `after` behind the array. Once.
  [[nodiscard]] std::string finish(std::string_view after = "\n") {
    text_ += "\n]";
    text_ += after;
    return std::move(text_);
  }

 private:
  std::string text_;
  bool empty_ = true;
};

}  // namespace sallyport::gateway
