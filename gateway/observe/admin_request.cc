#include "gateway/observe/admin_request.h"

#include <algorithm>
#include <array>
#include <optional>

#include "gateway/policy/host_name.h"
#include "gateway/policy/number.h"
#include "ktls/base/ascii.h"

namespace sallyport::gateway {
namespace {

struct Path {
  std::string_view path;
  AdminPage page;
  bool open;  // to every address
};
constexpr std::array<Path, 10> kPaths{{{"/metrics", AdminPage::kMetrics, true},
                                       {"/healthz", AdminPage::kHealth, true},
                                       {"/readyz", AdminPage::kReadiness, true},
                                       {"/connections", AdminPage::kConnections, false},
                                       {"/peers", AdminPage::kPeers, false},
                                       {"/peers/trust", AdminPage::kPeersTrust, false},
                                       {"/refusals", AdminPage::kRefusals, false},
                                       {"/discovery", AdminPage::kDiscovery, false},
                                       {"/routes", AdminPage::kRoutes, false},
                                       {"/credentials", AdminPage::kCredentials, false}}};

std::unexpected<AdminRefusal> refuse(int status, std::string text) {
  return std::unexpected(AdminRefusal{status, std::move(text) + "\n"});
}

// "127.0.0.1", "[::1]" or "localhost", each with or without a port.
bool is_literal_host(std::string_view host) {
  const std::size_t close = host.starts_with('[') ? host.find(']') : std::string_view::npos;
  const bool bracketed = close != std::string_view::npos;
  const std::size_t end = bracketed ? close + 1 : std::min(host.find(':'), host.size());
  const std::string_view port = host.substr(end);
  if (!port.empty() && (port[0] != ':' || !parse_number<std::uint16_t>(port.substr(1))))
    return false;
  const std::string_view name = bracketed ? host.substr(1, close - 1) : host.substr(0, end);
  if (!bracketed && ktls::ascii_lower(name) == "localhost") return true;
  return is_ip_literal(name) && name.contains(':') == bracketed;
}

struct Query {
  std::optional<unsigned> limit;
  std::optional<bool> total;
  std::optional<std::uint64_t> after;
};

constexpr std::string_view kTwice = "a query parameter is given twice";
constexpr std::string_view kUnknown = "unknown query parameter";

// One parameter of the query of /connections; what is wrong with it, if anything.
std::optional<std::string> read_of_connections(std::string_view name, std::string_view value,
                                               Query& query) {
  if (name == "limit" && !query.limit) {
    query.limit = parse_number<unsigned>(value);
    const bool good = query.limit && *query.limit >= 1 && *query.limit <= AdminRequest::kMaxLimit;
    if (good) return std::nullopt;
    return "limit is not a number from 1 to " + std::to_string(AdminRequest::kMaxLimit);
  }
  if (name == "total" && !query.total) {
    query.total = value == "1";
    if (*query.total || value == "0") return std::nullopt;
    return "total is neither 0 nor 1";
  }
  return std::string(name == "limit" || name == "total" ? kTwice : kUnknown);
}

// The same for /peers/trust.
std::optional<std::string> read_of_peers(std::string_view name, std::string_view value,
                                         Query& query) {
  if (name != "after") return std::string(kUnknown);
  if (query.after) return std::string(kTwice);
  query.after = parse_number<std::uint64_t>(value);
  if (query.after) return std::nullopt;
  return "after is not a number";
}

std::optional<std::string> read_parameter(AdminPage page, std::string_view parameter,
                                          Query& query) {
  const std::size_t equals = std::min(parameter.find('='), parameter.size());
  const std::string_view name = parameter.substr(0, equals);
  const std::string_view value = parameter.substr(std::min(equals + 1, parameter.size()));
  if (page == AdminPage::kConnections) return read_of_connections(name, value, query);
  if (page == AdminPage::kPeersTrust) return read_of_peers(name, value, query);
  return std::string(kUnknown);
}

std::optional<std::string> read_query(std::string_view text, AdminRequest& request) {
  Query query;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('&'), text.size());
    if (auto wrong = read_parameter(request.page, text.substr(0, end), query)) return wrong;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  request.limit = query.limit.value_or(AdminRequest::kDefaultLimit);
  request.total = query.total.value_or(false);
  request.after = query.after.value_or(0);
  return std::nullopt;
}

}  // namespace

std::expected<AdminRequest, AdminRefusal> judge(const AdminMessage& message,
                                                const AdminAccess& access) {
  if (message.method != "GET" && message.method != "HEAD")
    return refuse(405, "read-only: GET and HEAD");
  const bool one_host = message.hosts.size() == 1 || (message.hosts.empty() && message.http_1_0);
  if (!one_host) return refuse(400, "not one Host");
  if (access.literal_hosts_only && !std::ranges::all_of(message.hosts, is_literal_host))
    return refuse(403, "Host is neither an IP address nor localhost");

  const std::size_t mark = std::min(message.target.find('?'), message.target.size());
  const auto* const path = std::ranges::find(kPaths, message.target.substr(0, mark), &Path::path);
  if (path == kPaths.end() || (!path->open && !access.all_pages)) return refuse(404, "not found");

  AdminRequest request{.page = path->page};
  const std::string_view query = message.target.substr(std::min(mark + 1, message.target.size()));
  if (auto wrong = read_query(query, request)) return refuse(400, *std::move(wrong));
  return request;
}

}  // namespace sallyport::gateway
