#pragma once

#include "ktls/base/openssl_handles.h"

namespace sallyport::ktls::testing {

inline void free_bare_stack(STACK_OF(X509) * stack) noexcept {
  sk_X509_free(stack);
}
/// A stack of certificates that it holds no references to.
using BareStackPtr = OpensslPtr<STACK_OF(X509), free_bare_stack>;

}  // namespace sallyport::ktls::testing
