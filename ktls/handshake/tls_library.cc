#include "ktls/handshake/tls_library.h"

#include <openssl/crypto.h>
#include <openssl/provider.h>

#include <algorithm>
#include <cstdlib>
#include <utility>
#include <vector>

#include "ktls/base/openssl_handles.h"
#include "ktls/handshake/tuning_proof.h"
#include "ktls/openssl/tuned_library.h"

namespace sallyport::ktls {
namespace {

TlsLibrary stock(std::string reason) {
  return {.mode = TlsLibraryMode::kStock, .context = nullptr, .reason = std::move(reason)};
}

}  // namespace

const char* to_string(TlsLibraryMode mode) noexcept {
  return mode == TlsLibraryMode::kTuned ? "tuned" : "stock";
}

void skip_legacy_cipher_names() noexcept {
  (void)OPENSSL_init_crypto(OPENSSL_INIT_NO_ADD_ALL_CIPHERS, nullptr);
}

TlsLibrary proven(const TunedLibrary& tuned,
                  const std::function<void(ApplicationSecrets&)>& alter) {
  if (tuned.context == nullptr) return stock(tuned.reason);
  if (auto wrong = disprove_tuning(tuned.context, alter))
    return stock("the proof of the tuned library failed: " + *wrong);
  return {.mode = TlsLibraryMode::kTuned, .context = tuned.context, .reason = {}};
}

const TlsLibrary& tls_library(bool tuning) {
  static const TlsLibrary off = stock("--openssl-tuning off");
  if (!tuning) return off;
  static const TlsLibrary library = [] {
    TlsLibrary made = proven(tuned_library());
    (void)OpensslError::drain();
    return made;
  }();
  return library;
}

std::string openssl_providers() {
  std::vector<std::string> names;
  const auto add = [](OSSL_PROVIDER* provider, void* list) {
    static_cast<std::vector<std::string>*>(list)->emplace_back(OSSL_PROVIDER_get0_name(provider));
    return 1;
  };
  OSSL_PROVIDER_do_all(nullptr, add, &names);
  std::ranges::sort(names);
  std::string text;
  for (const std::string& name : names) {
    if (!text.empty()) text += ' ';
    text += name;
  }
  return text;
}

}  // namespace sallyport::ktls
