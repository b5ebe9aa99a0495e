// What a request to the admin server asks for, or why it is refused. Pure.
#pragma once

#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>

namespace sallyport::gateway {

enum class AdminPage : std::uint8_t {
  kMetrics,
  kHealth,
  kReadiness,
  kConnections,
  kPeers,
  kPeersTrust,
  kRefusals,
  kDiscovery,
  kRoutes,
  kCredentials
};

struct AdminRequest {
  static constexpr unsigned kDefaultLimit = 100;
  static constexpr unsigned kMaxLimit = 10'000;

  AdminPage page = AdminPage::kMetrics;
  unsigned limit = kDefaultLimit;  ///< of /connections
  bool total = false;              ///< of /connections: their number as well
  std::uint64_t after = 0;         ///< of /peers/trust: see to_number(PeerCursor)
};

/// An HTTP status and the text of its body.
struct AdminRefusal {
  int status = 500;
  std::string text;
};

/// A request as it was received; nothing is decoded.
struct AdminMessage {
  std::string_view method;
  std::string_view target;
  std::span<const std::string_view> hosts;  ///< the values of its Host fields
  bool http_1_0 = false;
};

/// What an address serves.
struct AdminAccess {
  /// Else only /metrics, /healthz and /readyz are there.
  bool all_pages = false;
  /// Host must be an IP literal or `localhost`: a page of another site whose name was made to
  /// resolve to a loopback address (DNS rebinding) has neither.
  bool literal_hosts_only = false;
};

/// GET and HEAD, exact paths, known query parameters. A request without Host is HTTP/1.0's only.
[[nodiscard]] std::expected<AdminRequest, AdminRefusal> judge(const AdminMessage& message,
                                                              const AdminAccess& access);

}  // namespace sallyport::gateway
