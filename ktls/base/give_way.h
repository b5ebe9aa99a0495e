#pragma once

#include <thread>

namespace sallyport::ktls {

/// Lets what waits for this CPU run. Called between the pieces of loading credentials, some 0.1 ms
/// each and milliseconds in all: a shard on the same CPU, which has something to send by then,
/// would otherwise wait until the kernel ends this thread's slice, for some 3 ms (EEVDF).
inline void give_way() noexcept {
  std::this_thread::yield();
}

}  // namespace sallyport::ktls
