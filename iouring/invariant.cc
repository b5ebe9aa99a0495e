#include "iouring/invariant.h"

#include <cstdio>
#include <cstdlib>

namespace sallyport::iouring {

void invariant_broken(const char* rule, long long found, long long expected) noexcept {
  std::fprintf(stderr, "sallyport: broken invariant: %s (found %lld, expected %lld)\n", rule, found,
               expected);
  std::abort();
}

}  // namespace sallyport::iouring
