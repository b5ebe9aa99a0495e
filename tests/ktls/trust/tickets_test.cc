#include "ktls/trust/tickets.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/support/temp_dir.h"

namespace sallyport::ktls {
namespace {

const std::string kHex(64, 'a');
const std::string kBase64 = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";  // 32 bytes
constexpr char kBase64AsHex[] = "3031323334353637383961626364656630313233343536373839616263646566";

std::array<std::uint8_t, 16> name_of(const TicketSecrets& secrets, std::size_t index,
                                     std::uint8_t trust = 0, std::string_view listeners = "l") {
  Sha256 digest{};
  digest.fill(trust);
  return secrets.bind(digest, listeners).at(index).name;
}

TEST(TicketSecrets, ReadHexadecimalAndBase64Lines) {
  const auto both = TicketSecrets::parse("# comment\n\n" + kHex + "\r\n" + kBase64 + "\n", "f");
  ASSERT_TRUE(both) << both.error().message();
  ASSERT_EQ((*both)->size(), 2U);
  const auto hex = TicketSecrets::parse(kBase64AsHex, "f");
  ASSERT_TRUE(hex);
  EXPECT_EQ(name_of(**both, 1), name_of(**hex, 0)) << "one secret, two ways of writing it";
}

TEST(TicketSecrets, ReadByteOrderMarksWhiteSpaceAndEveryLineEnd) {
  const std::string bom = "\xef\xbb\xbf";
  for (const std::string& text :
       {bom + "# comment\n" + bom + kHex + "\n \t" + kBase64 + " \n", kHex + "\r" + kBase64,
        "\r\n  # indented\r\n" + kHex + "\t\r\n" + kBase64 + "\r\n\r\n"}) {
    const auto secrets = TicketSecrets::parse(text, "f");
    ASSERT_TRUE(secrets) << secrets.error().message();
    EXPECT_EQ((*secrets)->size(), 2U) << text;
  }
}

TEST(TicketSecrets, NameTheLineThatIsWrong) {
  const std::pair<std::string, unsigned> cases[] = {
      {kHex + "\nnot base64!\n", 2},
      {"# short\n" + kHex.substr(2) + "\n", 2},
      {kHex + "a\n", 1},
      {std::string(130, 'a'), 1},
      {kBase64.substr(0, 43), 1},
      {kBase64 + kBase64 + kBase64, 1},
      {kHex + "\n-----BEGIN SECRET-----\n", 2},
      {kHex + " " + kHex, 1},
      {"\r\n" + kHex + "\r\n# comment\r\nnot base64!", 4},
      {kHex + "\r\r\n# converted twice\r\r\nnot base64!\r\r\n", 3},
      {"\r" + kHex + "\r# comment\rnot base64!", 4},
      {"\n" + kHex + "\r" + kHex + "\n", 2},
  };
  for (const auto& [text, line] : cases) {
    const auto secrets = TicketSecrets::parse(text, "keys");
    ASSERT_FALSE(secrets) << text;
    EXPECT_EQ(secrets.error().line, line) << text;
    EXPECT_EQ(secrets.error().file, "keys");
    EXPECT_FALSE(secrets.error().message().contains("aaaa")) << "the secret must not be shown";
  }
  EXPECT_FALSE(TicketSecrets::parse("# nothing\n", "keys"));
}

TEST(TicketSecrets, AreRenewedBesideTheOneBefore) {
  const auto first = TicketSecrets::random();
  const auto second = TicketSecrets::renewed(*first);
  const auto third = TicketSecrets::renewed(*second);
  ASSERT_EQ(second->size(), 2U);
  EXPECT_NE(name_of(*second, 0), name_of(*first, 0)) << "a new one seals";
  EXPECT_EQ(name_of(*second, 1), name_of(*first, 0)) << "the one before opens";
  ASSERT_EQ(third->size(), 2U);
  EXPECT_EQ(name_of(*third, 1), name_of(*second, 0));
}

TEST(TicketSecrets, ObeyTheRulesOfAPrivateKey) {
  const test::TempDir dir;
  EXPECT_TRUE(TicketSecrets::load(dir.write("good", kHex, 0600)));
  const auto open = TicketSecrets::load(dir.write("open", kHex, 0644));
  ASSERT_FALSE(open);
  EXPECT_TRUE(open.error().what.contains("0644")) << open.error().message();
  EXPECT_FALSE(TicketSecrets::load(dir / "absent"));
}

TEST(TicketSecrets, GiveOtherKeysForOtherTrustAndOtherListeners) {
  const auto secrets = TicketSecrets::parse(kHex, "f");
  ASSERT_TRUE(secrets);
  EXPECT_EQ(name_of(**secrets, 0), name_of(**secrets, 0));
  EXPECT_NE(name_of(**secrets, 0), name_of(**secrets, 0, 1));
  EXPECT_NE(name_of(**secrets, 0), name_of(**secrets, 0, 0, "m"));
  EXPECT_NE(name_of(*TicketSecrets::random(), 0), name_of(*TicketSecrets::random(), 0));
}

}  // namespace
}  // namespace sallyport::ktls
