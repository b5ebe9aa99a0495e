#include "gateway/run/flag_documents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "gateway/run/flag_table.h"

namespace sallyport::gateway {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<Flag> all_flags() {
  std::vector<Flag> flags;
  for (const FlagGroup& group : flag_groups()) {
    flags.insert(flags.end(), group.flags.begin(), group.flags.end());
  }
  return flags;
}

std::set<std::string> all_names() {
  std::set<std::string> names;
  for (const Flag& flag : all_flags()) names.insert(flag.name);
  return names;
}

// The flags of the table in docs/operate.md, as the first cells of its rows write them: by name the
// placeholder, empty where the row has none.
std::map<std::string, std::string> documented_flags() {
  std::ifstream page(OPERATE_PAGE);
  EXPECT_TRUE(page) << OPERATE_PAGE;
  std::map<std::string, std::string> flags;
  const std::regex usage("`--([a-z-]+)(?: ([^`]*))?`");
  bool in_table = false;
  for (std::string line; std::getline(page, line);) {
    if (line == "| flag | default | meaning |") in_table = true;
    if (in_table && !line.starts_with('|')) break;
    if (!in_table) continue;
    line = std::regex_replace(line, std::regex("\\\\\\|"), "/");
    const std::string cell = line.substr(1, line.find('|', 1) - 1);
    for (std::sregex_iterator each(cell.begin(), cell.end(), usage), end; each != end; ++each) {
      std::string value = (*each)[2];
      std::ranges::replace(value, '/', '|');
      flags.try_emplace((*each)[1], value);
    }
  }
  return flags;
}

// Lines that bash's completion offers for a command line, split as readline does. The last word is
// the one that is completed.
std::vector<std::string> completed_by_bash(const std::string& words) {
  std::string path = testing::TempDir() + "sallyport_completion_XXXXXX";
  const int file = ::mkstemp(path.data());
  if (file < 0) std::abort();
  ::close(file);
  std::ofstream(path) << bash_completion() << "COMP_WORDS=(" << words
                      << ")\nCOMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_sallyport\n"
                         "printf '%s\\n' \"${COMPREPLY[@]}\"\n";
  std::FILE* const shell = ::popen(("bash --norc -eu " + path + " 2>&1").c_str(), "r");
  if (shell == nullptr) std::abort();
  std::string said;
  for (int each = std::fgetc(shell); each != EOF; each = std::fgetc(shell)) {
    said += static_cast<char>(each);
  }
  EXPECT_EQ(::pclose(shell), 0) << said;
  ::unlink(path.c_str());
  std::vector<std::string> lines;
  std::istringstream split(said);
  for (std::string line; std::getline(split, line);) {
    if (!line.empty()) lines.push_back(line);
  }
  return lines;
}

TEST(FlagTable, HasEachFlagOnceAndInPlainText) {
  std::set<std::string> names;
  for (const Flag& flag : all_flags()) {
    EXPECT_TRUE(names.insert(flag.name).second) << flag.name;
    const std::string help = flag.help;
    EXPECT_THAT(help, testing::MatchesRegex("[ -~]+")) << flag.name;
    EXPECT_FALSE(help.ends_with('.')) << flag.name;
  }
}

TEST(FlagTable, IsTheOneOfTheDocumentation) {
  const auto documented = documented_flags();
  std::set<std::string> names;
  for (const auto& [name, value] : documented) names.insert(name);
  EXPECT_EQ(names, all_names());
  for (const Flag& flag : all_flags()) {
    const auto found = documented.find(flag.name);
    if (found == documented.end() || found->second.empty()) continue;
    EXPECT_EQ(found->second, flag.value) << flag.name;
  }
}

TEST(FlagDocuments, ManPageHasEveryFlagWithItsPlaceholder) {
  const std::string page = man_page();
  for (const Flag& flag : all_flags()) {
    const std::string name = std::regex_replace(std::string(flag.name), std::regex("-"), "\\-");
    std::string tag = ".TP\n\\fB\\-\\-" + name + "\\fR";
    if (*flag.value != '\0') {
      tag += " \\fI" + std::regex_replace(std::string(flag.value), std::regex("-"), "\\-") + "\\fR";
    }
    EXPECT_THAT(page, HasSubstr(tag + "\n"));
  }
}

TEST(FlagDocuments, ManPageTakesNoTextForARequest) {
  std::istringstream page(man_page());
  const std::set<std::string> requests{".TH", ".SH", ".SS", ".TP", ".PP", ".B", ".I"};
  for (std::string line; std::getline(page, line);) {
    EXPECT_FALSE(line.starts_with('\'')) << line;
    if (line.starts_with('.'))
      EXPECT_TRUE(requests.contains(line.substr(0, line.find(' ')))) << line;
  }
}

TEST(FlagDocuments, BashCompletesFlags) {
  EXPECT_THAT(completed_by_bash("sallyport --rec"), ElementsAre("--records"));
  std::set<std::string> offered;
  for (const std::string& word : completed_by_bash("sallyport --check --")) {
    offered.insert(word.substr(2));
  }
  EXPECT_EQ(offered, all_names());
}

TEST(FlagDocuments, BashCompletesValues) {
  EXPECT_THAT(completed_by_bash("sallyport --records ''"),
              ElementsAre("auto", "kernel", "userspace"));
  EXPECT_THAT(completed_by_bash("sallyport --records = k"), ElementsAre("kernel"));
  EXPECT_THAT(completed_by_bash("sallyport --records ="),
              ElementsAre("auto", "kernel", "userspace"));
  EXPECT_THAT(completed_by_bash("sallyport --cert /etc/os-rel"), ElementsAre("/etc/os-release"));
  EXPECT_THAT(completed_by_bash("sallyport --ca example.org = /etc/os-rel"),
              ElementsAre("/etc/os-release"));
  EXPECT_THAT(completed_by_bash("sallyport --state-dir /et"), ElementsAre("/etc"));
  EXPECT_THAT(completed_by_bash("sallyport --shards ''"), IsEmpty());
}

TEST(FlagDocuments, ZshAndFishKnowEveryFlagAndWhatItTakes) {
  const std::string zsh = zsh_completion();
  const std::string fish = fish_completion();
  EXPECT_TRUE(zsh.starts_with("#compdef sallyport\n"));
  for (const Flag& flag : all_flags()) {
    const std::string name = flag.name;
    const bool has_value = *flag.value != '\0';
    EXPECT_THAT(zsh,
                HasSubstr((flag.repeatable ? "'*--" : "'--") + name + (has_value ? "=[" : "[")));
    EXPECT_THAT(fish, HasSubstr("complete -c sallyport -l " + name + (has_value ? " -" : " -d ")));
  }
  EXPECT_THAT(zsh, HasSubstr(":auto|kernel|userspace:(auto kernel userspace)'"));
  EXPECT_THAT(fish, HasSubstr("-l records -x -a 'auto kernel userspace' -d "));
  EXPECT_THAT(fish, HasSubstr("-l cert -r -F -d "));
  EXPECT_THAT(zsh, HasSubstr("Prometheus'\\'' file_sd"));
  EXPECT_THAT(fish, HasSubstr("Prometheus\\' file_sd"));
}

}  // namespace
}  // namespace sallyport::gateway
