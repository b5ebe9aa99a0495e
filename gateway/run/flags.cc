#include "gateway/run/flags.h"

#include <algorithm>
#include <array>
#include <boost/program_options.hpp>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <utility>

#include "gateway/policy/suggestion.h"
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

std::string_view without_dashes(std::string_view word) {
  return word.substr(std::min(word.find_first_not_of('-'), word.size()));
}

// Reads a flag that there is not as the one whose name is most like it, and says so; empty: there
// is none. `dashes` stand in front of it.
std::string read_as_nearest(std::string_view name, std::string_view dashes, ReadFlags& read,
                            std::string value, std::string where) {
  std::vector<std::string_view> names;
  for (const FlagGroup& group : flag_groups())
    for (const Flag& flag : group.flags) names.emplace_back(flag.name);
  const std::string_view bare = without_dashes(name);
  const auto meant = find_flag(bare).flag != nullptr ? std::optional(bare) : nearest(bare, names);
  if (!meant) return "";
  read.given[std::string(*meant)].push_back({std::move(value), std::move(where)});
  return "; did you mean '" + std::string(dashes) + std::string(*meant) + "'?";
}

void add(ReadFlags& read, const Flag& flag, std::string value, std::string where) {
  auto& uses = read.given[flag.name];
  if (!flag.repeatable && !uses.empty()) {
    read.errors.push_back({std::move(where), std::string("--") + flag.name, std::move(value),
                           "is given twice, first at " + uses.front().where});
    return;
  }
  uses.push_back({std::move(value), std::move(where)});
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

constexpr char kCommandLine[] = "command line";

// Each flag with what stands behind it, up to the next one.
std::vector<std::vector<std::string>> uses_of(const std::vector<std::string>& words) {
  std::vector<std::vector<std::string>> uses;
  for (const std::string& word : words) {
    if (uses.empty() || word.starts_with("--")) uses.emplace_back();
    uses.back().push_back(word);
  }
  return uses;
}

// Of an unknown flag: what was given to it, if anything.
std::string value_of_unknown(const std::vector<std::string>& use) {
  const std::size_t equals = use.front().find('=');
  if (equals != std::string::npos) return use.front().substr(equals + 1);
  return use.size() > 1 ? use[1] : "true";
}

// One use at a time, so that an error in one hides none in another.
std::vector<po::option> parse_use(const po::options_description& all,
                                  const std::vector<std::string>& use, ReadFlags& read) {
  const auto refuse = [&](std::string flag, std::string what) {
    read.errors.push_back({kCommandLine, std::move(flag), "", std::move(what)});
    return std::vector<po::option>{};
  };
  try {
    using Style = po::command_line_style::style_t;
    return po::command_line_parser(use)
        .options(all)
        .style(Style::allow_long | Style::long_allow_adjacent | Style::long_allow_next)
        .run()
        .options;
  } catch (const po::unknown_option& error) {
    const std::string word = error.get_option_name();
    const std::string flag = word.substr(0, word.find('='));
    return refuse(flag, "unknown flag" +
                            read_as_nearest(flag, "--", read, value_of_unknown(use), kCommandLine));
  } catch (const po::error_with_option_name& error) {
    const std::string word = error.get_option_name();
    const std::string flag = word.substr(0, word.find('='));
    read.given[std::string(without_dashes(flag))];  // it is there
    return refuse(flag, error.what());
  } catch (const po::error& error) {
    return refuse("", error.what());
  }
}

std::string unexpected_word(std::string_view word) {
  const std::string_view name = without_dashes(word);
  return std::string("unexpected argument, flags have --") +
         (find_flag(name).flag != nullptr ? ": did you mean '--" + std::string(name) + "'?" : "");
}

ReadFlags read_command_line(const std::vector<std::string>& words) {
  po::options_description all;
  for (const FlagGroup& group : flag_groups()) all.add(describe(group));
  ReadFlags read;
  std::vector<po::option> options;
  for (const auto& use : uses_of(words))
    std::ranges::move(parse_use(all, use, read), std::back_inserter(options));

  const po::option* const offer = offer_of_client(options);
  for (const auto& option : options) {
    const Flag* flag = option.position_key == -1 ? find_flag(option.string_key).flag : nullptr;
    if (flag == nullptr) {
      const std::string word = option.value.empty() ? option.string_key : option.value.front();
      read.errors.push_back({kCommandLine, "", word, unexpected_word(word)});
    } else if (&option == offer) {
      read.given[kClientAlpn].push_back({option.value.front(), kCommandLine});
    } else {
      add(read, *flag, option.value.empty() ? "true" : option.value.front(), kCommandLine);
    }
  }
  return read;
}

// One line of the configuration file. Not Boost's parser: it takes a '#' anywhere for a comment,
// sections for prefixes, and its errors know no line.
void read_line(std::string_view line, const std::string& where, ReadFlags& read) {
  line = ktls::trim(line);
  if (line.empty() || line.starts_with('#')) return;
  const auto refuse = [&](std::string name, std::string value, std::string what) {
    read.errors.push_back({where, std::move(name), std::move(value), std::move(what)});
  };
  const std::size_t equals = line.find('=');
  if (equals == std::string_view::npos)
    return refuse("", std::string(line), "is not 'name = value'");
  const std::string name(ktls::trim(line.substr(0, equals)));
  const std::string value(ktls::trim(line.substr(equals + 1)));
  const auto [flag, in_file] = find_flag(name);
  if (flag == nullptr)
    return refuse(name, value, "unknown name" + read_as_nearest(name, "", read, value, where));
  if (!in_file) return refuse(name, value, "belongs on the command line, not in a file");
  if (value.empty()) {
    read.given[flag->name];  // it is there
    return refuse(name, "", "has no value");
  }
  if (*flag->value == '\0') {
    if (value == "false") return;
    if (value != "true") return refuse(name, value, "is neither true nor false");
  }
  add(read, *flag, value, where);
}

ReadFlags read_file(const std::string& path) {
  errno = 0;
  std::ifstream file(path);
  ReadFlags read;
  const auto failed = [&] {
    const char* reason = errno == 0 ? "cannot be read" : std::strerror(errno);
    read.errors.push_back({kCommandLine, "--config", path, reason});
    return read;
  };
  if (!file) return failed();
  unsigned number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    read_line(line, path + ":" + std::to_string(number), read);
  }
  if (file.bad()) return failed();  // a directory, for one
  return read;
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

ReadFlags read_flags(int argc, const char* const* argv) {
  const std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  for (const auto& [word, name] :
       {std::pair("--help", "help"), std::pair("-h", "help"), std::pair("--version", "version")}) {
    if (std::ranges::find(words, std::string(word)) != words.end())
      return {.given = {{name, {{"true", kCommandLine}}}}, .errors = {}};
  }
  ReadFlags read = read_command_line(words);
  const auto config = read.given.find("config");
  if (config == read.given.end() || config->second.empty()) return read;

  ReadFlags file = read_file(config->second.front().value);
  const GivenFlags command_line = read.given;
  for (auto& [name, uses] : file.given) {
    if (!decided(command_line, name)) read.given[name] = std::move(uses);
  }
  std::ranges::move(file.errors, std::back_inserter(read.errors));
  return read;
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
