#include "gateway/run/flags.h"

#include <algorithm>
#include <array>
#include <boost/program_options.hpp>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>
#include <utility>

#include "gateway/run/flag_table.h"
#include "ktls/base/text_lines.h"

namespace sallyport::gateway {
namespace {

namespace po = boost::program_options;

// Flags that only make sense as a whole: one of them on the command line overrides all of them in
// the file.
constexpr std::array<std::array<std::string_view, 3>, 2> kDecidedTogether{{
    {"cert", "key", "credentials"},
    {"allow", "allow-any-verified", "policy"},
}};

po::options_description describe(const FlagGroup& group) {
  constexpr unsigned kWidth = 100;
  constexpr unsigned kTextWidth = 58;
  po::options_description result(group.title, kWidth, kTextWidth);
  for (const Flag& flag : group.flags) {
    if (*flag.value == '\0') {
      result.add_options()(flag.name, flag.help);
    } else {
      result.add_options()(flag.name, po::value<std::vector<std::string>>()->value_name(flag.value),
                           flag.help);
    }
  }
  return result;
}

struct Found {
  const Flag* flag = nullptr;  // null: there is none of that name
  bool in_file = false;
};

Found find_flag(std::string_view name) {
  for (const FlagGroup& group : flag_groups()) {
    for (const Flag& flag : group.flags) {
      if (name == flag.name) return {&flag, group.in_file};
    }
  }
  return {};
}

std::optional<OptionsError> add(GivenFlags& given, const Flag& flag, std::string value,
                                std::string where) {
  auto& uses = given[flag.name];
  if (!flag.repeatable && !uses.empty()) {
    return OptionsError{std::move(where), std::string("--") + flag.name, std::move(value),
                        "is given twice, first at " + uses.front().where};
  }
  uses.push_back({std::move(value), std::move(where)});
  return std::nullopt;
}

// With --explain the last --alpn says what the client offers: null where there is none.
const po::option* offer_of_client(const std::vector<po::option>& options) {
  const po::option* offer = nullptr;
  bool explains = false;
  for (const po::option& option : options) {
    if (option.string_key == "alpn") offer = &option;
    explains = explains || option.string_key == "explain";
  }
  return explains ? offer : nullptr;
}

std::expected<GivenFlags, OptionsError> read_command_line(const std::vector<std::string>& words) {
  const std::string where = "command line";
  po::options_description all;
  for (const FlagGroup& group : flag_groups()) all.add(describe(group));

  po::parsed_options parsed(&all);
  try {
    using Style = po::command_line_style::style_t;
    parsed = po::command_line_parser(words)
                 .options(all)
                 .style(Style::allow_long | Style::long_allow_adjacent | Style::long_allow_next)
                 .run();
  } catch (const po::unknown_option& error) {
    return std::unexpected(OptionsError{where, error.get_option_name(), "", "unknown flag"});
  } catch (const po::error_with_option_name& error) {
    return std::unexpected(OptionsError{where, error.get_option_name(), "", error.what()});
  } catch (const po::error& error) {
    return std::unexpected(OptionsError{where, "", "", error.what()});
  }

  GivenFlags given;
  const po::option* const offer = offer_of_client(parsed.options);
  for (const auto& option : parsed.options) {
    const Flag* flag = option.position_key == -1 ? find_flag(option.string_key).flag : nullptr;
    if (flag == nullptr) {
      const std::string word = option.value.empty() ? option.string_key : option.value.front();
      return std::unexpected(OptionsError{where, "", word, "unexpected argument, flags have --"});
    }
    if (&option == offer) {
      given[kClientAlpn].push_back({option.value.front(), where});
      continue;
    }
    if (auto error =
            add(given, *flag, option.value.empty() ? "true" : option.value.front(), where)) {
      return std::unexpected(*std::move(error));
    }
  }
  return given;
}

// One line of the configuration file into `given`. Not Boost's parser: it takes a '#' anywhere for
// a comment, sections for prefixes, and its errors know no line.
std::optional<OptionsError> read_line(std::string_view line, const std::string& where,
                                      GivenFlags& given) {
  line = ktls::trim(line);
  if (line.empty() || line.starts_with('#')) return std::nullopt;
  const std::size_t equals = line.find('=');
  if (equals == std::string_view::npos) {
    return OptionsError{where, "", std::string(line), "is not 'name = value'"};
  }
  const std::string name(ktls::trim(line.substr(0, equals)));
  const std::string value(ktls::trim(line.substr(equals + 1)));
  const auto [flag, in_file] = find_flag(name);
  if (flag == nullptr) return OptionsError{where, name, value, "unknown name"};
  if (!in_file) {
    return OptionsError{where, name, value, "belongs on the command line, not in a file"};
  }
  if (value.empty()) return OptionsError{where, name, "", "has no value"};
  if (*flag->value == '\0') {
    if (value == "false") return std::nullopt;
    if (value != "true") return OptionsError{where, name, value, "is neither true nor false"};
  }
  return add(given, *flag, value, where);
}

std::expected<GivenFlags, OptionsError> read_file(const std::string& path) {
  errno = 0;
  std::ifstream file(path);
  const auto failure = [&path] {
    const char* reason = errno == 0 ? "cannot be read" : std::strerror(errno);
    return std::unexpected(OptionsError{"command line", "--config", path, reason});
  };
  if (!file) return failure();
  GivenFlags given;
  unsigned number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    const std::string where = path + ":" + std::to_string(number);
    if (auto error = read_line(line, where, given)) return std::unexpected(*std::move(error));
  }
  if (file.bad()) return failure();  // a directory, for one
  return given;
}

// Whether the command line overrides `name` of the file.
bool decided(const GivenFlags& command_line, std::string_view name) {
  if (command_line.contains(name)) return true;
  for (const auto& together : kDecidedTogether) {
    if (std::ranges::find(together, name) == together.end()) continue;
    if (std::ranges::any_of(together, [&](auto each) { return command_line.contains(each); })) {
      return true;
    }
  }
  return false;
}

}  // namespace

std::expected<GivenFlags, OptionsError> read_flags(int argc, const char* const* argv) {
  const std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  for (const char* name : {"help", "version"}) {
    if (std::ranges::find(words, std::string("--") + name) != words.end()) {
      return GivenFlags{{name, {{"true", "command line"}}}};
    }
  }
  auto command_line = read_command_line(words);
  if (!command_line) return command_line;
  const auto config = command_line->find("config");
  if (config == command_line->end()) return command_line;

  auto file = read_file(config->second.front().value);
  if (!file) return file;
  GivenFlags merged = *command_line;
  for (auto& [name, uses] : *file) {
    if (!decided(*command_line, name)) merged[name] = std::move(uses);
  }
  return merged;
}

std::string help_text() {
  std::ostringstream out;
  out << "sallyport: mutual-TLS gateway\n\n"
         "usage: sallyport --listen ADDR:PORT (--cert FILE --key FILE | --credentials FILE)\n"
         "                 --ca FILE (--allow PATTERN... | --allow-any-verified | --policy FILE)\n"
         "                 --discovery FILE [flag...]\n";
  for (const FlagGroup& group : flag_groups()) out << '\n' << describe(group);
  out << "\nSignals: SIGHUP reloads every file, SIGTERM and SIGINT drain, one more after a second "
         "ends at\nonce. Flags are read at the start only.\n"
         "Exit code: 0 drained or --check good, 2 bad command line or configuration, 1 anything "
         "else.\n--explain: 0 let in, 3 refused. --check --against: 0 none would end, 4 some.\n";
  return std::move(out).str();
}

}  // namespace sallyport::gateway
