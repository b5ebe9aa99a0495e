// The command line and the configuration file. Words of the command line, one a line, then an empty
// line, then the text of the file. What is taken must be whole and reasonable; what is not must say
// why in one line.

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "gateway/run/options.h"

namespace {

using sallyport::gateway::Information;
using sallyport::gateway::ListenAddress;
using sallyport::gateway::Options;
using sallyport::gateway::OptionsError;
using sallyport::gateway::ReloadRequest;

void require(bool holds) {
  if (!holds) std::abort();
}

// The configuration file, as a path: parse() reads no other.
const std::string& config_path(std::string_view text) {
  static const int descriptor = ::memfd_create("config", MFD_CLOEXEC);
  static const std::string path = "/proc/self/fd/" + std::to_string(descriptor);
  require(descriptor >= 0 && ::ftruncate(descriptor, 0) == 0);
  require(::pwrite(descriptor, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
  return path;
}

// Printed in a line of its own, with whatever the user wrote in it.
void check_error(const OptionsError& error) {
  require(!error.where.empty());
  require(!error.what.empty());
  require(error.message().ends_with(error.what));
}

void check_options(const Options& options) {
  require(!options.listen.empty());
  for (const ListenAddress& address : options.listen) {
    require(std::ranges::count(options.listen, address.text, &ListenAddress::text) == 1);
  }
  require(!options.pairs.empty() && !options.ca.empty() && !options.discovery.empty());
  for (const auto& pair : options.pairs) require(!pair.cert.empty() && !pair.key.empty());
  for (const auto& bundle : options.ca) require(!bundle.file.empty());
  const int kinds = (options.allow.empty() ? 0 : 1) + (options.allow_any_verified ? 1 : 0) +
                    (options.policy.empty() ? 0 : 1);
  require(kinds == 1);
  require(!options.admin.empty());
  require(options.discovery_max_removal_percent <= 100);
  require(!options.shards || (*options.shards >= 1 && *options.shards <= 1024));
  require(!options.max_connections || *options.max_connections >= 1);
  require(options.max_handshakes >= 1);
  require(options.tickets <= 8);
  require(options.ticket_max_age > std::chrono::seconds(0));
  require(options.ticket_max_age <= std::chrono::hours(7 * 24));
  for (const auto timeout :
       {options.handshake_timeout, options.connect_timeout, options.half_close_timeout,
        options.drain_timeout, options.idle_timeout, options.max_lifetime, options.drain_delay}) {
    require(timeout.count() >= 0);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  std::vector<std::string> words{"sallyport"};
  bool has_file = false;
  while (!rest.empty() && !has_file) {
    const std::size_t end = rest.find('\n');
    const std::string_view word = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    has_file = word.empty();
    if (!word.empty() && !word.starts_with("--config")) words.emplace_back(word);
  }
  if (has_file) words.push_back("--config=" + config_path(rest));

  std::vector<const char*> argv;
  argv.reserve(words.size());
  for (const std::string& word : words) argv.push_back(word.c_str());
  const auto parsed = sallyport::gateway::parse(static_cast<int>(argv.size()), argv.data());
  if (!parsed) {
    require(!parsed.error().errors.empty());
    for (const auto& error : parsed.error().errors) check_error(error);
  } else if (const auto* information = std::get_if<Information>(&*parsed)) {
    require(!information->text.empty());
  } else if (const auto* reload = std::get_if<ReloadRequest>(&*parsed)) {
    require(reload->gateway > 0);
  } else {
    check_options(std::get<Options>(*parsed));
  }
  return 0;
}
