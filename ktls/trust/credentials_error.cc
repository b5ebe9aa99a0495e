#include "ktls/trust/credentials_error.h"

#include <utility>

namespace sallyport::ktls {

std::string CredentialsError::message() const {
  std::string text = file;
  if (line) text += ":" + std::to_string(*line);
  if (!text.empty()) text += ": ";
  return text + what;
}

std::unexpected<CredentialsError> credentials_error(std::string file, std::optional<unsigned> line,
                                                    std::string what) {
  return std::unexpected(CredentialsError{std::move(file), line, std::move(what)});
}

std::unexpected<CredentialsError> credentials_error(std::string file, std::string what) {
  return credentials_error(std::move(file), std::nullopt, std::move(what));
}

}  // namespace sallyport::ktls
