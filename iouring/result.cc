#include "iouring/result.h"

#include <cstring>

namespace sallyport::iouring {

const char* errno_name(int error) noexcept {
  const char* name = strerrorname_np(error < 0 ? -error : error);
  return name != nullptr ? name : "EUNKNOWN";
}

}  // namespace sallyport::iouring
