// Includes Boost.Beast, which takes seconds to compile.
#include "gateway/run/inventory_client.h"

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <chrono>
#include <cstdint>
#include <utility>

#include "gateway/observe/text_value.h"

namespace sallyport::gateway {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using Protocol = asio::generic::stream_protocol;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kMostBytes = std::uint64_t{512} << 20;
constexpr std::uint64_t kLargestPage = std::uint64_t{64} << 20;
// How often an inventory is begun: a reload takes much longer than to read all pages.
constexpr int kTries = 5;

std::string_view major_of(std::string_view version) {
  return version.substr(0, version.find('.'));
}

// GETs from one gateway, each over a connection of its own, until the deadline.
class Fetcher {
 public:
  Fetcher(const AdminUrl& from, Clock::time_point deadline) : from_(from), deadline_(deadline) {}

  // The body of a good answer.
  std::expected<std::string, std::string> get(const std::string& target) {
    try {
      return exchange(target);
    } catch (const boost::system::system_error& error) {
      if (error.code() == beast::error::timeout)
        return std::unexpected(std::string("has not answered in time"));
      return std::unexpected(error.code().message());
    }
  }

 private:
  // Runs one operation to its end; throws its error.
  template <class Start>
  auto await(Start start) {
    auto result = start(asio::use_future);
    io_.restart();
    io_.run();
    return result.get();
  }

  std::vector<Protocol::endpoint> endpoints() {
    if (!from_.path.empty()) return {asio::local::stream_protocol::endpoint(from_.path)};
    asio::ip::tcp::resolver resolver(io_);
    std::vector<Protocol::endpoint> found;
    for (const auto& each : resolver.resolve(from_.host, from_.port))
      found.emplace_back(each.endpoint());
    return found;
  }

  beast::basic_stream<Protocol> connect() {
    boost::system::system_error last(asio::error::host_not_found);
    for (const Protocol::endpoint& endpoint : endpoints()) {
      beast::basic_stream<Protocol> stream(io_);
      stream.expires_at(deadline_);
      try {
        await([&](auto token) { return stream.async_connect(endpoint, token); });
        return stream;
      } catch (const boost::system::system_error& error) {
        last = error;
      }
    }
    throw last;
  }

  std::expected<std::string, std::string> exchange(const std::string& target) {
    auto stream = connect();
    http::request<http::empty_body> request(http::verb::get, target, 11);
    request.set(http::field::host, from_.path.empty() ? from_.authority() : "localhost");
    request.set(http::field::connection, "close");
    await([&](auto token) { return http::async_write(stream, request, token); });
    beast::flat_buffer buffer;
    http::response_parser<http::string_body> parser;
    parser.body_limit(std::min(kLargestPage, left_));
    await([&](auto token) { return http::async_read(stream, buffer, parser, token); });
    auto response = parser.release();
    left_ -= response.body().size();
    if (response.result() == http::status::ok) return std::move(response.body());
    const std::string body = response.body().substr(0, response.body().find('\n'));
    return std::unexpected(target + " is answered with " + std::to_string(response.result_int()) +
                           ": " + terminal_text(body.substr(0, 200)));
  }

  const AdminUrl& from_;
  Clock::time_point deadline_;
  std::uint64_t left_ = kMostBytes;
  asio::io_context io_;
};

}  // namespace

std::expected<Inventory, std::string> read_inventory(const FetchPage& fetch,
                                                     std::string_view program) {
  Inventory all;
  std::optional<InstanceId> instance;
  std::optional<std::uint64_t> generation;
  std::optional<std::uint64_t> after;
  for (int tries = 1; tries <= kTries;) {
    const std::string target =
        after ? "/peers/trust?after=" + std::to_string(*after) : "/peers/trust";
    const auto answer = fetch(target);
    if (!answer) return std::unexpected(answer.error());
    auto page = parse_inventory_page(*answer);
    if (!page) return std::unexpected(target + " " + page.error());
    if (major_of(page->program) != major_of(program))
      return std::unexpected("is sallyport " + terminal_text(page->program) +
                             ", of another major version than this one, " + std::string(program));
    if (instance.value_or(page->instance) != page->instance)
      return std::unexpected("was restarted or replaced while the pages were read");
    instance = page->instance;
    if (generation.value_or(page->generation) != page->generation) {
      ++tries;
      all = {};
      generation.reset();
      after.reset();
      continue;
    }
    generation = page->generation;
    std::ranges::move(page->part.peers, std::back_inserter(all.peers));
    std::ranges::move(page->part.issuers, std::back_inserter(all.issuers));
    if (!page->next) return all;
    if (page->next <= after) return std::unexpected(target + " leads back to an earlier page");
    after = page->next;
  }
  return std::unexpected("the configuration changed each time while the pages were read");
}

std::expected<Inventory, std::string> fetch_inventory(const AdminUrl& from,
                                                      std::string_view program,
                                                      std::chrono::milliseconds timeout) {
  Fetcher fetcher(from, Clock::now() + timeout);
  return read_inventory([&fetcher](const std::string& target) { return fetcher.get(target); },
                        program);
}

}  // namespace sallyport::gateway
