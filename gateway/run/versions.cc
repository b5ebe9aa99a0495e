#include "gateway/run/versions.h"

#include <openssl/crypto.h>
#include <sys/utsname.h>

#include "gateway/run/commit.h"

namespace sallyport::gateway {

Versions versions() {
  Versions result;
  result.sallyport = SALLYPORT_VERSION;
  result.commit = SALLYPORT_COMMIT;
  result.openssl = OpenSSL_version(OPENSSL_VERSION_STRING);
  result.liburing = SALLYPORT_LIBURING_VERSION;  // of the build: 2.3 has no version at run time
  utsname machine{};
  if (::uname(&machine) == 0) result.kernel = machine.release;
  return result;
}

}  // namespace sallyport::gateway
