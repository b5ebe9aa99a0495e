#include "ktls/base/openssl_handles.h"

#include <openssl/err.h>

#include <utility>

namespace sallyport::ktls {
namespace {

std::string entry_text(unsigned long code, const char* data, int flags) {
  const char* reason = ERR_reason_error_string(code);
  std::string text = reason != nullptr ? reason : "error " + std::to_string(ERR_GET_REASON(code));
  if (data != nullptr && (flags & ERR_TXT_STRING) != 0 && *data != '\0') {
    text += " (";
    text += data;
    text += ')';
  }
  return text;
}

}  // namespace

OpensslError OpensslError::drain(std::string fallback) {
  OpensslError error;
  const char* data = nullptr;
  int flags = 0;
  while (const unsigned long code = ERR_get_error_all(nullptr, nullptr, nullptr, &data, &flags)) {
    std::string text = entry_text(code, data, flags);
    if (!error.text.empty()) text += "; " + error.text;
    error.text = std::move(text);
    // libssl puts general entries on top of the specific one.
    if (ERR_GET_LIB(error.code) != ERR_LIB_SSL) error.code = code;
  }
  if (error.code == 0) error.text = std::move(fallback);
  return error;
}

}  // namespace sallyport::ktls
