#include "gateway/observe/priority.h"

#include <sys/stat.h>

#include <array>
#include <string>

namespace sallyport::gateway {

std::string_view prefix(Priority priority) {
  constexpr std::array<std::string_view, 8> kPrefixes{"<0>", "<1>", "<2>", "<3>",
                                                      "<4>", "<5>", "<6>", "<7>"};
  return kPrefixes.at(static_cast<std::size_t>(priority));
}

bool is_journal(int descriptor, const char* journal_stream) {
  struct stat status{};
  if (journal_stream == nullptr || ::fstat(descriptor, &status) != 0) return false;
  return std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino) == journal_stream;
}

}  // namespace sallyport::gateway
