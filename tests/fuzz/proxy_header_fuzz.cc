// PROXY headers: what the reader makes of any bytes is the same in whatever pieces they come, and
// it reads what we write.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "gateway/backends/proxy_header.h"
#include "gateway/connection/proxy_header_reader.h"

namespace {

using sallyport::gateway::begins_proxy_header;
using sallyport::gateway::encode_proxy_header;
using sallyport::gateway::ProxyHeaderReader;
using State = ProxyHeaderReader::State;

void require(bool holds) {
  if (!holds) std::abort();
}

void check_result(const ProxyHeaderReader& reader, std::span<const std::byte> wire) {
  require(reader.size() <= ProxyHeaderReader::kMaxBinary && reader.size() <= wire.size());
  require((reader.state() == State::kInvalid) == !reader.error().empty());
  require(reader.state() == State::kWhole || !reader.addresses());
  if (reader.state() == State::kWhole) require(begins_proxy_header(wire));
  if (!reader.addresses()) return;
  const auto& found = *reader.addresses();
  const auto header =
      encode_proxy_header({}, {.source = found.source, .destination = found.destination});
  require(header.has_value());
  ProxyHeaderReader again;
  std::span<const std::byte> rest(*header);
  require(again.add(rest) == State::kWhole && rest.empty());
  require(again.addresses() == reader.addresses());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto wire = std::as_bytes(std::span(data, size));
  ProxyHeaderReader whole;
  auto left = wire;
  const State state = whole.add(left);
  require(left.size() == wire.size() - whole.size());
  check_result(whole, wire);

  ProxyHeaderReader bytewise;
  for (std::size_t i = 0; i < size && bytewise.state() == State::kPartial; ++i) {
    auto next = wire.subspan(i, 1);
    bytewise.add(next);
  }
  require(bytewise.state() == state && bytewise.size() == whole.size());
  require(bytewise.error() == whole.error() && bytewise.addresses() == whole.addresses());
  return 0;
}
