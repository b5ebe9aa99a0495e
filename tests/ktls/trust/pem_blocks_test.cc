#include "ktls/trust/pem_blocks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/ktls/trust/pem_text.h"

namespace sallyport::ktls {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::kBom;
using testing::replaced;

// "label:line:bytes" of each block, or the error.
std::vector<std::string> blocks_of(std::string_view text) {
  const auto blocks = cut_pem(text, "f");
  if (!blocks) return {blocks.error().message()};
  std::vector<std::string> all;
  for (const PemBlock& block : *blocks) {
    const auto bytes = decode(block);
    all.push_back(std::string(block.label) + ":" + std::to_string(block.line) + ":" +
                  (bytes ? std::string(bytes->view()) : "no base64"));
  }
  return all;
}

const std::string kA = "-----BEGIN A-----\nYWJj\nZGU=\n-----END A-----\n";
const std::string kB = "-----BEGIN B B-----\nQg==\n-----END B B-----\n";

TEST(PemBlocks, CountsLinesAndIgnoresWhatStandsBetween) {
  EXPECT_THAT(blocks_of(""), ElementsAre());
  EXPECT_THAT(blocks_of("only text\n"), ElementsAre());
  for (const std::string_view newline : {"\n", "\r\n", "\r\r\n", "\r"}) {
    const std::string text = "# Z\xfcrich\n" + kA + "==== -- the end\n\n" + kB;
    EXPECT_THAT(blocks_of(replaced(text, "\n", newline)), ElementsAre("A:2:abcde", "B B:8:B"));
  }
}

TEST(PemBlocks, FindsBlocksBehindWhiteSpaceAndTheEndOfAnother) {
  EXPECT_THAT(blocks_of(kBom + "-----BEGIN A----- \t\n  YWJj \n\n-----END A-----"
                               "-----BEGIN A-----\nQg==\n -----END A-----"),
              ElementsAre("A:1:abc", "A:4:B"));
  EXPECT_THAT(blocks_of(replaced(kA, "END A-----\n", "END A----- \t" + kBom + " ") + kB),
              ElementsAre("A:1:abcde", "B B:4:B"));
}

TEST(PemBlocks, ReadsByteOrderMarksWhiteSpaceAndEveryLineEnd) {
  const auto both = [](std::string_view second) {
    return ElementsAre("A:1:abcde", "B B:" + std::string(second) + ":B");
  };
  EXPECT_THAT(blocks_of(kBom + kA + kBom + kB), both("5"));
  EXPECT_THAT(blocks_of(" " + kA + "\t " + kB), both("5"));
  EXPECT_THAT(blocks_of(replaced(kA + kB, "\n", "\n  ")), both("5"));
  EXPECT_THAT(blocks_of(replaced(kA + kB, "-----\n", "-----\t \n")), both("5"));
  EXPECT_THAT(blocks_of(replaced(kA + kB, "\n", "\r\n")), both("5"));
  EXPECT_THAT(blocks_of(replaced(kA + kB, "\n", "\r")), both("5"));
  EXPECT_THAT(blocks_of(replaced(kA + kB, "\n", "\r\r\n")), both("5"));
  EXPECT_THAT(blocks_of(replaced(kA, "\n", "\r") + kB), both("1")) << "lines end in LF here";
  EXPECT_THAT(blocks_of(replaced(kA + kB, "\n", "\n\n")), both("9"));
}

TEST(PemBlocks, ReadsBlocksGluedTogetherAndBlocksInOneLine) {
  EXPECT_THAT(blocks_of(replaced(kA + kB, "-----\n-----", "----------")),
              ElementsAre("A:1:abcde", "B B:4:B"));
  EXPECT_THAT(blocks_of(replaced(kA + kB, "\n", " ")), ElementsAre("A:1:abcde", "B B:1:B"));
  EXPECT_THAT(blocks_of(replaced(kA + kB, "\n", "")), ElementsAre("A:1:abcde", "B B:1:B"));
}

struct Case {
  std::string text, expected;
};

TEST(PemBlocks, NamesTheLineOfWhatIsNoBlock) {
  for (const Case& bad : {
           Case{"\n-----BEGIN A-----\n-----END B-----\n", "f:3: PEM block ends as another kind"},
           Case{"-----BEGIN A-----\n-----END A--\n", "f:2: PEM block ends as another kind"},
           Case{"-----BEGIN A-----\n-----BEGIN B-----\n", "f:1: PEM block without its END"},
           Case{"-----BEGIN A-----\nx\n", "f:1: PEM block without its END"},
           Case{kA + "-----BEGIN B-----\nQg==\n" + kB, "f:5: PEM block without its END"},
           Case{kA + "-----BEGIN B-----\n-----\n", "f:5: PEM block without its END"},
           Case{"\n-----END A-----\n", "f:2: PEM block without its BEGIN"},
           Case{kA + "text -----END B-----" + kB, "f:5: PEM block without its BEGIN"},
           Case{"\n----BEGIN CERTIFICATE----\n", "f:2: looks like"},
           Case{kA + "-- begin x509 crl --\n", "f:5: looks like"},
           Case{"-----Begin Private Key-----\nx\n", "f:1: looks like"},
           Case{"# ---BEGINCERTIFICATE\n", "f:1: looks like"},
           Case{"-----BEGIN A\n-----\n", "f:1: looks like"},
           Case{"-----BEGIN A----\nYWJj\n-----END A-----\n", "f:1: looks like"},
           Case{"-----BEGIN -----\n-----END -----\n", "f:1: looks like"},
           Case{kA + "---END CERTIFICATE\r\n", "f:5: looks like"},
           Case{"-" + replaced(kA, "-----\n", "------\n"), "f:1: PEM block with text before"},
           Case{kA + "----BEGIN X509 CRL " + kB, "f:5: looks like"},
           Case{std::string("a\n\0", 3), "f:2: holds a NUL"},
           Case{kA + "\xff\xfe-" + std::string(1, '\0') + "-", "f:5: holds a NUL"},
       }) {
    EXPECT_THAT(blocks_of(bad.text), ElementsAre(HasSubstr(bad.expected))) << bad.text;
  }
}

TEST(PemBlocks, SeesMarksThatHaveTooFewDashesOfTheirOwn) {
  for (const Case& bad : {
           Case{"-----BEGIN A-----\n-----END A-----BEGIN CMS-----\nQg==\n", "f:2: looks like"},
           Case{"-----BEGIN A-----\n-----END A------BEGIN CMS\n", "f:2: looks like"},
           Case{"-----BEGIN A-----END CMS\n-----END A-----\n", "f:1: looks like"},
           Case{"-----BEGIN A---------END CMS\n-----END A-----\n", "f:1: looks like"},
           Case{"-----BEGIN A-----END \n-----END A-----\n", "f:1: looks like"},
           Case{"-----BEGIN A---------END of roots\n-----END A-----\n", "f:1: looks like"},
           Case{"-----BEGIN A-----\n-----END A-----BEGIN of roots\n", "f:2: looks like"},
           Case{"-----BEGIN A-----\nYQ==\n---END A---\n---BEGIN CMS---\nYg==\n-----END A-----\n",
                "f:1: looks like"},
       }) {
    EXPECT_THAT(blocks_of(bad.text), ElementsAre(HasSubstr(bad.expected))) << bad.text;
  }
}

// Bundles are commented so by hand and by tools.
TEST(PemBlocks, TakesACommentBetweenDashesForText) {
  for (const std::string comment :
       {"# --- End of the roots ---", "# --- Begin of intermediates ---", "# --- begin: roots ---",
        "--- END ---", "--- BEGIN ROOT CA ---", "# ---- End of certificate ----",
        "### --- END OF PRIVATE KEYS --- ###", "/* --- begin new root certificate --- */", "---END",
        "-- begin B --", "----begin certificates of 2026----"})
    EXPECT_THAT(blocks_of(kB + comment + "\n" + kA), ElementsAre("B B:1:B", "A:5:abcde"))
        << comment;
}

// Its author may have meant a comment, in whatever language.
TEST(PemBlocks, RefusesABlockBehindTextInItsLine) {
  for (const std::string sign :
       {"#",  "  # ", "; ", "//",      "# old root: ", "<!-- ",    "/* ",      "REM ", "-- ",
        "! ", "% ",   "> ", "old: # ", "\u00a0",       "\u00a0# ", "\u200b# ", "\x1a", "text ",
        "-",  "- |",  "\""}) {
    EXPECT_THAT(blocks_of(sign + kA),
                ElementsAre(HasSubstr("f:1: PEM block with text before BEGIN")))
        << sign;
    EXPECT_THAT(blocks_of(kB + sign + kA),
                ElementsAre(HasSubstr("f:4: PEM block with text before")))
        << sign;
    EXPECT_THAT(blocks_of(replaced(kB, "END B B-----\n", "END B B-----" + sign) + kA),
                ElementsAre(HasSubstr("f:3: ")))
        << sign << ", glued to the END before";
  }
}

// For OpenSSL, grep and editors the comment goes on to the LF.
TEST(PemBlocks, RefusesABlockThatOnlyACarriageReturnPartsFromText) {
  EXPECT_THAT(blocks_of(kB + "# old:\r" + kA),
              ElementsAre(HasSubstr("f:4: PEM block with text before BEGIN")));
  EXPECT_THAT(blocks_of(replaced(kB + "# new:\n" + kA, "\n", "\r")),
              ElementsAre("B B:1:B", "A:5:abcde"));
}

// What it holds is the matter of stray_base64_test.
TEST(PemBlocks, RefusesBase64OutsideOfABlock) {
  const std::string line = "MIIBtjCCAVugAwIBAgITBmyf1XSXNmY/Owua2eiedgPySjAKBggqhkjOPQQDAjA5";
  for (const std::string& stray :
       {line + "\n", "  " + line + "\t\r\n", line.substr(0, 62) + "==", line + kB,
        "\u2014BEGIN B\u2014 \r" + line + "\n\u2014END B\u2014\n", "b: " + line + "\n"}) {
    EXPECT_THAT(blocks_of(kA + stray),
                ElementsAre(HasSubstr("f:5: base64 outside of a PEM block")));
    EXPECT_THAT(blocks_of(stray), ElementsAre(HasSubstr("f:1: base64 outside of a PEM block")));
  }
  EXPECT_THAT(blocks_of(kA + "\n" + line + "\n"), ElementsAre(HasSubstr("f:6: base64 outside")));
  EXPECT_THAT(blocks_of(replaced(kA, "END A-----\n", "END A-----" + line)),
              ElementsAre(HasSubstr("f:4: base64 outside")));
}

TEST(PemBlocks, TakesTextForText) {
  EXPECT_THAT(blocks_of("-- endpoints --\n----- bag attributes -----\n--\n--- the end ---\n"
                        "---ends here\n--end\n# BEGIN of roots\n" +
                        std::string(64, 'A') + "\n" +  // a fingerprint
                        std::string(70, '/') + "\nMaintainedByTheTeamThatIsCalledPlatform\n" + kA),
              ElementsAre("A:11:abcde"));
}

TEST(PemBlocks, DecodesNothingButBase64) {
  for (const char* bad : {"YWJj=", "YWJ", "YW-j", "Y===", "====", "YQ==YQ==", "#YWJ",
                          "Proc-Type: 4,ENCRYPTED\n\nYWJj", "\xef\xbb\xbfYWJj", "YWJj\\nYWJj"}) {
    EXPECT_EQ(decode({.label = "A", .body = bad, .line = 1}), nullptr) << bad;
  }
  const auto nothing = decode({.label = "A", .body = "\n", .line = 1});
  ASSERT_TRUE(nothing);
  EXPECT_EQ(nothing->size(), 0U);
}

}  // namespace
}  // namespace sallyport::ktls
