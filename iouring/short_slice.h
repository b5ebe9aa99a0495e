// The slice of CPU time that an event loop asks the scheduler for.
#pragma once

#include <chrono>

namespace sallyport::iouring {

/// Asks for slices of so long for the calling thread, where it is of an ordinary class (sched(7)).
/// Since Linux 6.12 a thread that wakes up preempts those of longer slices on its CPU, which would
/// keep it for milliseconds otherwise; its share of the CPU stays the same. Older kernels accept
/// and ignore it. Returns whether it was accepted.
bool ask_for_slice(std::chrono::nanoseconds time);

/// That of the calling thread as the kernel tells it; 0: none was asked for, or the kernel does not
/// know slices.
std::chrono::nanoseconds slice_asked_for();

}  // namespace sallyport::iouring
