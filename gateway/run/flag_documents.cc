#include "gateway/run/flag_documents.h"

#include <algorithm>
#include <string_view>

#include "gateway/run/flag_table.h"

namespace sallyport::gateway {
namespace {

// What a shell can offer behind a flag.
enum class Offer { kNothing, kChoices, kFiles, kDirectories, kNoValue };

Offer offer_of(const Flag& flag) {
  const std::string_view value = flag.value;
  if (value.empty()) return Offer::kNoValue;
  if (value.contains('|')) return Offer::kChoices;
  if (value == "DIR") return Offer::kDirectories;
  if (value.ends_with("FILE") || value.ends_with("PATH") || value == "CERT") return Offer::kFiles;
  return Offer::kNothing;
}

std::string choices_of(const Flag& flag) {
  std::string choices = flag.value;
  std::ranges::replace(choices, '|', ' ');
  return choices;
}

// The first sentence: a shell shows a line.
std::string_view summary_of(const Flag& flag) {
  const std::string_view help = flag.help;
  return help.substr(0, help.find(". "));
}

// `text` with a backslash before each character of `special`.
std::string escaped(std::string_view text, std::string_view special) {
  std::string result;
  for (const char each : text) {
    if (special.contains(each)) result += '\\';
    result += each;
  }
  return result;
}

// Text of a roff page: a hyphen that is one to copy, and no line that is taken for a request.
std::string roff(std::string_view text) {
  std::string result;
  if (text.starts_with('.') || text.starts_with('\'')) result = "\\&";
  for (const char each : text) {
    if (each == '\\') {
      result += "\\e";
    } else if (each == '-') {
      result += "\\-";
    } else {
      result += each;
    }
  }
  return result;
}

std::string roff_of(const Flag& flag) {
  std::string tag = "\\fB" + roff(std::string("--") + flag.name) + "\\fR";
  if (*flag.value != '\0') tag += " \\fI" + roff(flag.value) + "\\fR";
  return ".TP\n" + tag + "\n" + roff(flag.help) + ".\n";
}

// --one | --two of the flags with this offer; a pattern of bash.
std::string flags_with(Offer offer) {
  std::string pattern;
  for (const FlagGroup& group : flag_groups()) {
    for (const Flag& flag : group.flags) {
      if (offer_of(flag) != offer) continue;
      pattern += std::string(pattern.empty() ? "" : " | ") + "--" + flag.name;
    }
  }
  return pattern;
}

constexpr const char* kPageBeforeFlags = R"(.SH NAME
sallyport \- mutual\-TLS gateway
.SH SYNOPSIS
.B sallyport
\fB\-\-listen\fR \fIADDR:PORT\fR
(\fB\-\-cert\fR \fIFILE\fR \fB\-\-key\fR \fIFILE\fR | \fB\-\-credentials\fR \fIFILE\fR)
\fB\-\-ca\fR \fIPATH\fR
(\fB\-\-allow\fR \fIPATTERN\fR... | \fB\-\-allow\-any\-verified\fR | \fB\-\-policy\fR \fIFILE\fR)
\fB\-\-discovery\fR \fIFILE\fR [\fIflag\fR...]
.PP
.B sallyport
\fB\-\-config\fR \fIFILE\fR [\fIflag\fR...]
.PP
.B sallyport
\fB\-\-config\fR \fIFILE\fR \fB\-\-check\fR [\fB\-\-against\fR \fIURL\fR]
.PP
.B sallyport
\fB\-\-config\fR \fIFILE\fR \fB\-\-explain\fR \fICERT\fR [\fB\-\-sni\fR \fINAME\fR]
.PP
.B sallyport
\fB\-\-reload\fR \fIPID\fR
.SH DESCRIPTION
A client presents its certificate, is recognised by the SPIFFE ID or DNS name in it, is allowed or
refused by a rule, and its bytes are relayed to a backend that a discovery file names: in plaintext,
or by mutual TLS in the gateway's own name.
.PP
All files are read again when they change and at SIGHUP; what is wrong in them changes nothing, and
the log says so. Flags are read at the start only: to change one, a gateway is exchanged for another.
.SH FLAGS
Durations are 500ms, 10s, 5m, 1h; 0 turns the thing off. A flag that is not said to be repeatable may
be given once.
)";

constexpr const char* kPageAfterFlags = R"(.SH CONFIGURATION FILE
One flag a line as \fIname\fR = \fIvalue\fR, without dashes; a switch is true or false. Lines that
begin with # are comments. The command line wins, flag by flag; a list given there replaces the
list of the file.
.SH SIGNALS
.TP
SIGHUP
reads every file again.
.TP
SIGTERM, SIGINT
drain; one more after a second ends at once.
.SH EXIT STATUS
.TP
0
drained; or \fB\-\-check\fR good; or \fB\-\-explain\fR: let in.
.TP
1
anything that has no code of its own.
.TP
2
a bad command line or configuration.
.TP
3
\fB\-\-explain\fR: refused.
.TP
4
\fB\-\-check \-\-against\fR: some connections would end.
.SH FILES
.TP
.I /etc/sallyport/sallyport.conf
flags of the service \fIsallyport.service\fR.
.TP
.I /var/lib/sallyport
for \fB\-\-state\-dir\fR of that service.
.SH SEE ALSO
docs/start.md, docs/operate.md and docs/secure.md in /usr/share/doc/sallyport.
)";

}  // namespace

std::string man_page() {
  std::string page = ".TH SALLYPORT 8 \"\" \"Sallyport " SALLYPORT_VERSION "\"\n";
  page += kPageBeforeFlags;
  for (const FlagGroup& group : flag_groups()) {
    page += ".SS \"" + roff(group.title) + "\"\n";
    for (const Flag& flag : group.flags) page += roff_of(flag);
  }
  return page + kPageAfterFlags;
}

std::string bash_completion() {
  std::string script = R"(# bash completion for sallyport
_sallyport() {
  local word=${COMP_WORDS[COMP_CWORD]} flag=${COMP_WORDS[COMP_CWORD - 1]}
  # To readline "=" is a word: --records=kernel, and --ca example.org=/etc/ca.pem.
  if [[ $word == = ]]; then
    word=
  elif [[ $flag == = ]]; then
    flag=${COMP_WORDS[COMP_CWORD - 2]}
    [[ $flag == --* ]] || flag=${COMP_WORDS[COMP_CWORD - 3]}
  fi
  case $flag in
)";
  std::string all;
  for (const FlagGroup& group : flag_groups()) {
    for (const Flag& flag : group.flags) {
      all += std::string(all.empty() ? "" : " ") + "--" + flag.name;
      if (offer_of(flag) != Offer::kChoices) continue;
      script += std::string("    --") + flag.name + ") mapfile -t COMPREPLY < <(compgen -W '" +
                choices_of(flag) + "' -- \"$word\") ;;\n";
    }
  }
  script += "    " + flags_with(Offer::kDirectories) +
            ") mapfile -t COMPREPLY < <(compgen -d -- \"$word\") ;;\n";
  script += "    " + flags_with(Offer::kFiles) +
            ") mapfile -t COMPREPLY < <(compgen -f -- \"$word\") ;;\n";
  script += "    " + flags_with(Offer::kNothing) + ") COMPREPLY=() ;;\n";
  script += "    *) mapfile -t COMPREPLY < <(compgen -W '" + all + "' -- \"$word\") ;;\n";
  return script + "  esac\n}\ncomplete -o filenames -F _sallyport sallyport\n";
}

std::string zsh_completion() {
  std::string script = "#compdef sallyport\n_arguments -S";
  for (const FlagGroup& group : flag_groups()) {
    for (const Flag& flag : group.flags) {
      const Offer offer = offer_of(flag);
      std::string spec = std::string(flag.repeatable ? "*" : "") + "--" + flag.name;
      if (offer != Offer::kNoValue) spec += '=';
      spec += "[" + escaped(summary_of(flag), "[]\\") + "]";
      if (offer != Offer::kNoValue) spec += ":" + escaped(flag.value, ":\\") + ":";
      if (offer == Offer::kChoices) spec += "(" + choices_of(flag) + ")";
      if (offer == Offer::kDirectories) spec += "_files -/";
      if (offer == Offer::kFiles) spec += "_files";
      std::string quoted;
      for (const char each : spec)
        quoted += each == '\'' ? std::string("'\\''") : std::string{each};
      script += " \\\n  '" + quoted + "'";
    }
  }
  return script + "\n";
}

std::string fish_completion() {
  std::string script = "complete -c sallyport -f\n";
  for (const FlagGroup& group : flag_groups()) {
    for (const Flag& flag : group.flags) {
      script += std::string("complete -c sallyport -l ") + flag.name;
      switch (offer_of(flag)) {
        case Offer::kNoValue:
          break;
        case Offer::kNothing:
          script += " -x";
          break;
        case Offer::kChoices:
          script += " -x -a '" + choices_of(flag) + "'";
          break;
        case Offer::kDirectories:
          script += " -x -a '(__fish_complete_directories)'";
          break;
        case Offer::kFiles:
          script += " -r -F";
          break;
      }
      script += " -d '" + escaped(summary_of(flag), "'\\") + "'\n";
    }
  }
  return script;
}

}  // namespace sallyport::gateway
