// The file of --ticket-keys: secrets within their limits, or an error that names the file.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "ktls/trust/tickets.h"

using namespace sallyport::ktls;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto secrets = TicketSecrets::parse(text, "the file");
  if (!secrets) {
    if (!secrets.error().message().starts_with("the file")) std::abort();
    return 0;
  }
  if ((*secrets)->size() == 0 || (*secrets)->size() > TicketSecrets::kMaxSecrets) std::abort();
  if ((*secrets)->bind({}, "listeners").size() != (*secrets)->size()) std::abort();
  return 0;
}
