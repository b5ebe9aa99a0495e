#pragma once

#include <thread>

namespace sallyport::ktls {

/// Lets what waits for this CPU run. Called between the pieces of loading credentials, which takes
/// milliseconds: a shard on the same CPU that has something to do would otherwise wait until the
/// kernel ends this thread's slice, some 3 ms (EEVDF). A piece is a step of OpenSSL: a certificate
/// or key 0.1 to 0.4 ms, a CRL of 100,000 entries much longer.
inline void give_way() noexcept {
  std::this_thread::yield();
}

}  // namespace sallyport::ktls
