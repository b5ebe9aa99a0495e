// The inventory of a running gateway, over its admin HTTP.
#pragma once

#include <chrono>
#include <expected>
#include <functional>
#include <string>
#include <string_view>

#include "gateway/run/option_values.h"
#include "gateway/run/peer_inventory.h"

namespace sallyport::gateway {

/// Gives the answer to a GET of a target, or why there is none.
using FetchPage = std::function<std::expected<std::string, std::string>(const std::string& target)>;

/// All pages of /peers/trust, of one process and one generation: begins again, a few times, where
/// the configuration changes between them. `program` is our version. The error: a page that `fetch`
/// does not give or that cannot be read, one of another process than the first, pages without an
/// end, another major version of the program.
///
/// A connection that lives while all pages are read is in one of them, since it stays in its shard
/// and its facts keep their place there. One that begins or ends meanwhile may be missed.
[[nodiscard]] std::expected<Inventory, std::string> read_inventory(const FetchPage& fetch,
                                                                   std::string_view program);

/// The same from a gateway. Blocks, for `timeout` in all at most, the look-up of its name aside;
/// reads 512 MiB in all at most.
[[nodiscard]] std::expected<Inventory, std::string> fetch_inventory(
    const AdminUrl& from, std::string_view program,
    std::chrono::milliseconds timeout = std::chrono::seconds(30));

}  // namespace sallyport::gateway
