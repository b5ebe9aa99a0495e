#include <gtest/gtest.h>
#include <openssl/x509.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ktls/trust/x509_facts.h"

namespace sallyport::ktls {
namespace {

struct FreeName {
  void operator()(X509_NAME* name) const { X509_NAME_free(name); }
};

struct Attribute {
  const char* type;
  std::string value;
  int set = 0;  // -1: beside the one before, in its RelativeDistinguishedName
};

std::string text_of(const std::vector<Attribute>& attributes) {
  const std::unique_ptr<X509_NAME, FreeName> name(X509_NAME_new());
  for (const auto& [type, value, set] : attributes) {
    EXPECT_EQ(X509_NAME_add_entry_by_txt(name.get(), type, MBSTRING_UTF8,
                                         reinterpret_cast<const unsigned char*>(value.data()),
                                         static_cast<int>(value.size()), -1, set),
              1)
        << type << value;
  }
  return name_text(name.get());
}

TEST(CommonName, IsReadFromTheTextOfAName) {
  const std::pair<std::vector<Attribute>, std::string> names[] = {
      {{{"CN", "web"}}, "web"},
      {{{"C", "DE"}, {"O", "Shop"}, {"CN", "web"}, {"OU", "a"}}, "web"},
      {{{"O", "Shop"}, {"CN", "web", -1}}, "web"},
      {{{"CN", "web"}, {"UID", "7", -1}}, "web"},
      {{{"CN", "first"}, {"CN", "second"}}, "first"},
      {{{"O", "Shop"}}, ""},
      {{}, ""},
  };
  for (const auto& [attributes, expected] : names) {
    EXPECT_EQ(common_name(text_of(attributes)), expected) << text_of(attributes);
  }
}

TEST(CommonName, IsUnescaped) {
  for (const std::string name : {"a,CN=b", "a+CN=b", "a=b", "\\", "\\\\,", "\"quoted\"", "<a;b>",
                                 " blanks ", "#hash", "\\2C", "Jos\xc3\xa9", ",", "a\\"}) {
    EXPECT_EQ(common_name(text_of({{"O", "x"}, {"CN", name}, {"OU", "y"}})), name);
  }
}

TEST(CommonName, OfAnotherAttributeIsNotTaken) {
  EXPECT_EQ(common_name(text_of({{"CN", "web"}, {"O", "x,CN=admin"}})), "web");
  EXPECT_EQ(common_name(text_of({{"O", "CN=admin"}})), "");
  EXPECT_EQ(common_name(text_of({{"O", "x\\"}, {"OU", ",CN=admin"}})), "");
}

TEST(CommonName, WithControlCharactersIsNone) {
  using namespace std::string_literals;
  for (const std::string& name : {"admin\0evil"s, "a\nb"s, "a\x1b[0m"s, "\x7f"s}) {
    EXPECT_EQ(common_name(text_of({{"CN", name}})), "");
  }
}

TEST(CommonName, OfANameThatWasCutIsNone) {
  const std::string many(60, 'x');
  std::vector<Attribute> attributes{{"CN", "first"}};
  for (int i = 0; i < 5; ++i) attributes.push_back({"OU", many});
  attributes.push_back({"CN", "second"});
  ASSERT_TRUE(text_of(attributes).ends_with("..."));
  EXPECT_EQ(common_name(text_of(attributes)), "");
}

}  // namespace
}  // namespace sallyport::ktls
