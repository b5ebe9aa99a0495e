#include "gateway/policy/json_document.h"

#include <gtest/gtest.h>

#include <string>

namespace sallyport::gateway {
namespace {

std::string json_error(std::string_view text, const JsonLimits& limits = {}) {
  const auto parsed = parse_json(text, "f", limits);
  return parsed ? "no error" : parsed.error().to_string();
}

TEST(JsonDocument, GivesEveryValueAndKeyItsLine) {
  const auto root =
      parse_json("{\n  \"a\": [1,\n    2\n,\ntrue], \"b\":\n\"text\",\n\"c\": null}", "f");
  ASSERT_TRUE(root) << root.error().to_string();
  const JsonValue* a = root->find("a");
  ASSERT_TRUE(a && a->array());
  EXPECT_EQ(root->line, 1u);
  EXPECT_EQ(a->line, 2u);
  EXPECT_EQ((*a->array())[0].line, 2u);
  EXPECT_EQ((*a->array())[1].line, 3u) << "the lexer has read the line feed behind a number";
  EXPECT_EQ((*a->array())[2].line, 5u);
  EXPECT_EQ(root->find("b")->line, 6u);
  EXPECT_EQ((*root->object())[1].line, 5u);
  EXPECT_EQ(*root->find("b")->string(), "text");
  EXPECT_TRUE(root->find("c")->is_null());
  EXPECT_EQ(root->find("d"), nullptr);
}

TEST(JsonDocument, ReadsUnicodeAndAByteOrderMark) {
  const auto root = parse_json("\xEF\xBB\xBF[\"Gr\\u00fc\xC3\x9F\"]", "f");
  ASSERT_TRUE(root) << root.error().to_string();
  EXPECT_EQ(*(*root->array())[0].string(), "Grüß");
}

TEST(JsonDocument, RefusesDuplicateKeysOfOneObject) {
  EXPECT_EQ(json_error("{\"a\": {\"x\": 1,\n\"y\": 2,\n\"x\": 3}}"),
            "f:3: a.x: duplicate key, already given on line 1");
  EXPECT_EQ(json_error("{\"a\": 1, \"\\u0061\": 1}"),
            "f:1: a: duplicate key, already given on line 1");
  EXPECT_EQ(json_error("[{\"a\": 1}, {\"a\": 1}]"), "no error");
}

TEST(JsonDocument, NamesTheFirstOfSeveralDuplicates) {
  EXPECT_EQ(json_error("{\"z\":1,\n\"z\":1,\n\"a\":1,\n\"a\":1,\n\"z\":1}"),
            "f:2: z: duplicate key, already given on line 1");
}

TEST(JsonDocument, RefusesBytesThatAreNotText) {
  EXPECT_EQ(json_error(""), "f:1: the file is empty");
  EXPECT_EQ(json_error(" \r\n\t\n"), "f:1: the file is empty");
  EXPECT_EQ(json_error(std::string_view("[]\n\0garbage", 11)), "f:2: has a NUL byte");
  EXPECT_EQ(json_error("[\n\"\xC3(\"]").substr(0, 5), "f:2: ");
  EXPECT_NE(json_error("[\n\"\xC3(\"]").find("UTF-8"), std::string::npos);
  EXPECT_EQ(json_error("\xFF").substr(0, 5), "f:1: ");
}

TEST(JsonDocument, RefusesEveryTruncation) {
  const std::string whole =
      "[{\"targets\": [\"a:1\"], \"labels\": {\"route\": \"r\", \"n\": 1.5e1}}]";
  ASSERT_EQ(json_error(whole), "no error");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_NE(json_error(whole.substr(0, size)), "no error") << size;
  }
}

TEST(JsonDocument, RefusesSyntaxThatIsNotJson) {
  for (const char* text :
       {"[1,]",      "{\"a\":1,}", "{a:1}", "['a']", "[1] [2]",  "[1]x",      "// c\n[]",
        "[01]",      "[1.]",       "[NaN]", "[+1]",  "[\"\t\"]", "[\"\\x\"]", "[\"\\ud800\"]",
        "{\"a\" 1}", "}",          "]",     ",",     "[1e999]",  "\xEF\xBB",  "[\"a\nb\"]"}) {
    EXPECT_NE(json_error(text), "no error") << text;
  }
}

TEST(JsonDocument, SyntaxErrorsNameTheLineAndThePlace) {
  const std::string error =
      json_error("{\"routes\": {\n  \"orders\": {\n    \"sni\": [\"a\" \"b\"]}}}");
  EXPECT_EQ(error.substr(0, 28), "f:3: routes.orders.sni[1]: p") << error;
  EXPECT_EQ(error.find('\n'), std::string::npos);
}

TEST(JsonDocument, ErrorsHoldNoControlCharactersOfTheFile) {
  const std::string error = json_error("{\"\\u001b[31m\": 1, \"\\u001b[31m\": 2}");
  EXPECT_EQ(error, "f:1: \\x1b[31m: duplicate key, already given on line 1");
}

TEST(JsonDocument, LimitsDepthAndSize) {
  EXPECT_EQ(json_error("[[[]]]", {.depth = 3}), "no error");
  EXPECT_EQ(json_error("[\n[[[]]]]", {.depth = 3}),
            "f:2: [0][0][0][0]: nested deeper than 3 levels");
  EXPECT_EQ(json_error("[1, 2]", {.bytes = 5}), "f: larger than 5 bytes");
  const std::string deep = std::string(1'000'000, '[');
  EXPECT_NE(json_error(deep), "no error") << "and no stack is used up";
}

TEST(JsonDocument, ReadsLargeObjects) {
  std::string text = "{";
  for (int i = 0; i < 20'000; ++i) text += "\"key" + std::to_string(i) + "\": \"v\",\n";
  text += "\"key5\": \"v\"}";
  EXPECT_EQ(json_error(text), "f:20001: key5: duplicate key, already given on line 6");
}

}  // namespace
}  // namespace sallyport::gateway
