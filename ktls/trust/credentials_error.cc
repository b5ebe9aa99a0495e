#include "ktls/trust/credentials_error.h"

namespace sallyport::ktls {

std::string CredentialsError::message() const {
  std::string text = file;
  if (line) text += ":" + std::to_string(*line);
  if (!text.empty()) text += ": ";
  return text + what;
}

}  // namespace sallyport::ktls
