#include "ktls/handshake/tls_library.h"

#include <cstdlib>

#include "ktls/base/openssl_handles.h"
#include "ktls/handshake/tuning_proof.h"
#include "ktls/openssl/tuned_library.h"

namespace sallyport::ktls {
namespace {

TlsLibrary stock(std::string reason) {
  return {.mode = TlsLibraryMode::kStock, .context = nullptr, .reason = std::move(reason)};
}

TlsLibrary make() {
  const TunedLibrary& tuned = tuned_library();
  if (tuned.context == nullptr) return stock(tuned.reason);
  if (auto wrong = disprove_tuning(tuned.context)) {
    return stock("the proof of the tuned library failed: " + *wrong);
  }
  return {.mode = TlsLibraryMode::kTuned, .context = tuned.context, .reason = {}};
}

}  // namespace

const char* to_string(TlsLibraryMode mode) noexcept {
  return mode == TlsLibraryMode::kTuned ? "tuned" : "stock";
}

const TlsLibrary& tls_library(bool tuning) {
  static const TlsLibrary off = stock("--openssl-tuning off");
  if (!tuning) return off;
  static const TlsLibrary library = [] {
    TlsLibrary made = make();
    (void)OpensslError::drain();
    return made;
  }();
  return library;
}

}  // namespace sallyport::ktls
