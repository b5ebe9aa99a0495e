#pragma once

#include <openssl/core.h>

#include <vector>

namespace sallyport::ktls {

/// Replaces the function `id` (openssl-core_dispatch.h(7)) of a provider's `algorithm` by `with`.
/// The dispatch table of `algorithm` becomes a copy in `table`, which must live as long as the
/// provider. Returns the entry that was there before; null if there was none.
inline const OSSL_DISPATCH* replace_function(OSSL_ALGORITHM& algorithm, int id, void (*with)(),
                                             std::vector<OSSL_DISPATCH>& table) {
  const OSSL_DISPATCH* before = nullptr;
  for (const OSSL_DISPATCH* at = algorithm.implementation; at->function_id != 0; ++at) {
    table.push_back(*at);
    if (at->function_id != id) continue;
    before = at;
    table.back().function = with;
  }
  table.push_back({0, nullptr});
  algorithm.implementation = table.data();
  return before;
}

}  // namespace sallyport::ktls
