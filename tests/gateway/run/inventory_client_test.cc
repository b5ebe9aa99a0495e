#include "gateway/run/inventory_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "tests/gateway/run/inventory_json.h"
#include "tests/support/backend.h"
#include "tests/support/temp_dir.h"

namespace sallyport::gateway::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

InventoryPeer peer(std::uint64_t connections) {
  InventoryPeer peer;
  peer.trust.links.resize(1);
  peer.trust.links[0].serial = "\x01";
  peer.route = "orders";
  peer.connections = connections;
  return peer;
}

// Gives these answers, one after the other, and remembers what was asked.
class Answers {
 public:
  explicit Answers(std::vector<json> pages) : pages_(std::move(pages)) {}
  FetchPage fetch() {
    return [this](const std::string& target) -> std::expected<std::string, std::string> {
      asked.push_back(target);
      if (asked.size() > pages_.size()) return std::unexpected("no more answers");
      return pages_[asked.size() - 1].dump();
    };
  }
  std::vector<std::string> asked;

 private:
  std::vector<json> pages_;
};

std::vector<std::uint64_t> counts(const Inventory& inventory) {
  std::vector<std::uint64_t> counts;
  for (const InventoryPeer& each : inventory.peers) counts.push_back(each.connections);
  return counts;
}

std::string error_of(std::vector<json> pages) {
  Answers answers(std::move(pages));
  const auto inventory = read_inventory(answers.fetch(), "0.1.0");
  return inventory ? "no error" : inventory.error();
}

TEST(InventoryClient, ReadsPageByPage) {
  Answers answers({page_json({peer(1), peer(2)}, 7), page_json({}, 9), page_json({peer(3)})});
  const auto inventory = read_inventory(answers.fetch(), "0.9.7");
  ASSERT_TRUE(inventory) << inventory.error();
  EXPECT_THAT(counts(*inventory), ElementsAre(1, 2, 3));
  EXPECT_THAT(answers.asked,
              ElementsAre("/peers/trust", "/peers/trust?after=7", "/peers/trust?after=9"));
}

TEST(InventoryClient, BeginsAgainWhereTheConfigurationChangesBetweenPages) {
  Answers answers({page_json({peer(1)}, 7, 1), page_json({peer(2)}, {}, 2),
                   page_json({peer(4)}, 3, 2), page_json({peer(5)}, {}, 2)});
  const auto inventory = read_inventory(answers.fetch(), "0.1.0");
  ASSERT_TRUE(inventory) << inventory.error();
  EXPECT_THAT(counts(*inventory), ElementsAre(4, 5));
  EXPECT_EQ(answers.asked[2], "/peers/trust");
}

TEST(InventoryClient, GivesUpWhereItChangesEachTime) {
  std::vector<json> pages;
  for (std::uint64_t generation = 1; generation < 20; ++generation)
    pages.push_back(page_json({peer(1)}, generation, generation));
  EXPECT_THAT(error_of(pages), HasSubstr("changed each time"));
}

// Its numbers begin again: what its pages leave out of the list is not known.
TEST(InventoryClient, RefusesPagesOfTwoProcesses) {
  json other = page_json({peer(2)});
  other["instance"] = "ff0102030405060708090a0b0c0d0e0f";
  EXPECT_EQ(error_of({page_json({peer(1)}, 7), other}),
            "was restarted or replaced while the pages were read");
  // Also where the configuration has changed, and it would begin again.
  other["generation"] = 2;
  EXPECT_EQ(error_of({page_json({peer(1)}, 7), other}),
            "was restarted or replaced while the pages were read");
  EXPECT_EQ(error_of({page_json({peer(1)}, 7, 1), page_json({peer(1)}, 7, 2), other}),
            "was restarted or replaced while the pages were read");
  EXPECT_EQ(error_of({other}), "no error");
}

TEST(InventoryClient, RefusesAPartialAnswer) {
  EXPECT_EQ(error_of({page_json({peer(1)}, 7)}), "no more answers");
  json odd = page_json({peer(1)});
  odd["peers"][0].erase("chain");
  EXPECT_EQ(error_of({odd}), "/peers/trust peer in line 1 lacks chain");
  EXPECT_THAT(error_of({page_json({}, 7), page_json({}, 7)}), HasSubstr("back to an earlier page"));
  EXPECT_THAT(error_of({page_json({}, 7), page_json({}, 6)}), HasSubstr("back to an earlier page"));
}

TEST(InventoryClient, RefusesAnotherMajorVersion) {
  EXPECT_THAT(error_of({page_json({}, {}, 1, "1.0.0")}),
              HasSubstr("is sallyport 1.0.0, of another major version than this one, 0.1.0"));
  EXPECT_EQ(error_of({page_json({}, {}, 1, "0.2.0")}), "no error");
  EXPECT_THAT(error_of({page_json({}, {}, 1, "")}), HasSubstr("another major version"));
}

std::expected<Inventory, std::string> fetch(const std::string& url,
                                            std::chrono::milliseconds timeout) {
  return fetch_inventory(parse_admin_url(url).value(), "0.1.0", timeout);
}

TEST(InventoryClient, AsksOverTcpAndOverAUnixSocket) {
  const test::TempDir dir;
  const std::string unix_path = "unix:" + (dir / "admin.sock").string();
  const std::string body = page_json({peer(5)}).dump();
  for (const std::string& address : {std::string("127.0.0.1:0"), unix_path}) {
    const test::Backend gateway(test::http_server(body), address);
    const bool is_unix = address == unix_path;
    const auto inventory = fetch(is_unix ? unix_path : "http://" + gateway.address(), 30s);
    ASSERT_TRUE(inventory) << inventory.error();
    EXPECT_THAT(counts(*inventory), ElementsAre(5));
  }
}

TEST(InventoryClient, SaysWhyThereIsNoAnswer) {
  const test::RefusingAddress refusing;
  EXPECT_EQ(fetch("http://" + refusing.address(), 30s).error(), "Connection refused");
  EXPECT_EQ(fetch("unix:/nowhere/admin.sock", 30s).error(), "No such file or directory");
  const test::Backend silent(test::stall());
  EXPECT_EQ(fetch("http://" + silent.address(), 50ms).error(), "has not answered in time");
  const test::Backend echo(test::echo());
  EXPECT_THAT(fetch("http://" + echo.address(), 30s).error(), HasSubstr("bad version"));
  const test::Backend cut(test::reset_after(1));
  EXPECT_FALSE(fetch("http://" + cut.address(), 30s));
}

}  // namespace
}  // namespace sallyport::gateway::testing
