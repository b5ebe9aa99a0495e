#include "gateway/run/option_values.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "gateway/policy/host_name.h"
#include "gateway/policy/number.h"
#include "gateway/policy/suggestion.h"
#include "ktls/base/ascii.h"
#include "ktls/base/spiffe.h"
#include "ktls/keys/suite.h"

namespace sallyport::gateway {
namespace {

// The members of a list with colons between, each once. `wrong` says what is wrong with a member.
template <class Wrong>
std::expected<std::vector<std::string>, std::string> parse_list(std::string_view text,
                                                                Wrong wrong) {
  std::vector<std::string> members;
  for (std::size_t start = 0; start <= text.size();) {
    const std::size_t end = std::min(text.find(':', start), text.size());
    std::string member(text.substr(start, end - start));
    if (auto what = wrong(member)) return std::unexpected(*std::move(what));
    if (std::ranges::find(members, member) != members.end()) {
      return std::unexpected("names '" + member + "' twice");
    }
    members.push_back(std::move(member));
    start = end + 1;
  }
  return members;
}

constexpr std::string_view kUnixPrefix = "unix:";
constexpr std::string_view kModeKey = ",mode=";

}  // namespace

std::optional<mode_t> parse_mode(std::string_view digits) {
  mode_t mode = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), mode, 8);
  const bool whole = error == std::errc() && end == digits.data() + digits.size();
  if (!whole || digits.size() < 3 || mode > 0777) return std::nullopt;
  return mode;
}

std::expected<ListenAddress, std::string> parse_listen_address(std::string_view text) {
  const bool v6 = text.starts_with('[');
  std::size_t colon = 0;
  std::string host;
  if (v6) {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos || text.substr(close + 1, 1) != ":") {
      return std::unexpected(std::string("is not [IPv6]:PORT"));
    }
    host = text.substr(1, close - 1);
    colon = close + 1;
  } else {
    colon = text.find(':');
    if (colon == std::string_view::npos) {
      return std::unexpected(std::string("lacks a port: ADDR:PORT or [IPv6]:PORT"));
    }
    if (text.find(':', colon + 1) != std::string_view::npos) {
      return std::unexpected(std::string("is ambiguous: write an IPv6 address as [ADDR]:PORT"));
    }
    host = text.substr(0, colon);
  }
  if (host.empty()) {
    return std::unexpected(std::string("lacks an address: 0.0.0.0 or [::] means all of them"));
  }
  const bool numeric = is_ip_literal(host) && host.contains(':') == v6;
  if (!numeric) {
    return std::unexpected("needs a numeric address, '" + host + "' is not " +
                           (v6 ? "IPv6" : "IPv4"));
  }
  const auto address = iouring::SocketAddress::parse(text);
  if (!address) return std::unexpected("has no port from 0 to 65535 after the colon");
  return ListenAddress{.text = std::string(text), .address = *address};
}

std::expected<ListenAddress, std::string> parse_listener(std::string_view text) {
  constexpr std::string_view kStarttls = "starttls=";
  const std::size_t comma = text.find(',');
  auto listen = parse_listen_address(text.substr(0, comma));
  if (!listen || comma == std::string_view::npos) return listen;
  const std::string_view setting = text.substr(comma + 1);
  if (!setting.starts_with(kStarttls))
    return std::unexpected(std::string("has something else than starttls=postgresql behind it"));
  if (setting.substr(kStarttls.size()) != "postgresql")
    return std::unexpected(std::string("has starttls= of another protocol than postgresql"));
  listen->text = text;
  listen->starttls_postgresql = true;
  return listen;
}

bool overlap(const ListenAddress& one, const ListenAddress& other) {
  if (one.text == other.text) return true;
  const int family = one.address.family();
  const std::uint16_t port = one.address.port();
  if (other.address.family() != family || other.address.port() != port || port == 0) return false;
  const auto every =
      iouring::SocketAddress::parse(family == AF_INET6 ? "[::]:0" : "0.0.0.0:0")->with_port(port);
  return one.address == other.address || one.address == every || other.address == every;
}

std::expected<AdminAddress, std::string> parse_admin_address(std::string_view text) {
  AdminAddress result{.text = std::string(text), .address = {}};
  if (!text.starts_with(kUnixPrefix)) {
    auto listen = parse_listen_address(text);
    if (!listen) return std::unexpected(std::move(listen.error()));
  } else if (const std::size_t at = text.rfind(kModeKey); at != std::string_view::npos) {
    const std::string_view digits = text.substr(at + kModeKey.size());
    const auto mode = parse_mode(digits);
    if (!mode) return std::unexpected("has no mode such as 0600 or 0660 behind mode=");
    result.mode = *mode;
    text = text.substr(0, at);
  }
  const auto address = iouring::SocketAddress::parse(text);
  const bool rooted = !text.starts_with(kUnixPrefix) || text.starts_with("unix:/");
  if (!address || !rooted) return std::unexpected("is not unix:/PATH of at most 107 bytes");
  result.address = *address;
  return result;
}

std::expected<AdminUrl, std::string> parse_admin_url(std::string_view text) {
  constexpr std::string_view kHttp = "http://";
  AdminUrl url{.text = std::string(text), .path = {}, .host = {}, .port = {}};
  if (text.starts_with(kUnixPrefix)) {
    url.path = text.substr(kUnixPrefix.size());
    if (!url.path.starts_with('/') || url.path.size() >= sizeof(sockaddr_un::sun_path))
      return std::unexpected(std::string("is not unix:/PATH, of at most 107 bytes"));
    return url;
  }
  const std::string_view rest = text.starts_with(kHttp) ? text.substr(kHttp.size()) : "";
  const std::size_t colon = rest.rfind(':');
  std::string_view host = rest.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  const bool plain = !host.empty() && std::ranges::all_of(host, [](char c) {
    return ktls::is_ascii_letter(c) || ktls::is_ascii_digit(c) || c == '.' || c == '-' || c == ':';
  });
  const bool bracketed = rest.starts_with('[');
  const auto port = parse_number<std::uint16_t>(
      colon == std::string_view::npos ? std::string_view() : rest.substr(colon + 1));
  if (!plain || host.contains(':') != bracketed || port.value_or(0) == 0)
    return std::unexpected(std::string("is not http://HOST:PORT or unix:/PATH"));
  url.host = host;
  url.port = std::to_string(*port);
  return url;
}

std::expected<TrustBundle, std::string> parse_trust_bundle(std::string_view text) {
  TrustBundle bundle;
  const std::size_t equals = text.find('=');
  const std::size_t slash = text.find('/');
  if (equals != std::string_view::npos && equals < slash) {
    std::string domain = ktls::ascii_lower(text.substr(0, equals));
    if (domain.empty() || domain.size() > ktls::kMaxTrustDomainBytes ||
        !ktls::is_spiffe_text(domain)) {
      return std::unexpected("has no SPIFFE trust domain before the '=': '" + domain + "'");
    }
    bundle.trust_domain = std::move(domain);
    text.remove_prefix(equals + 1);
  }
  if (text.empty()) return std::unexpected(std::string("names no file"));
  bundle.file = text;
  return bundle;
}

std::expected<std::vector<std::string>, std::string> parse_ciphersuites(std::string_view text) {
  return parse_list(text, [](const std::string& suite) -> std::optional<std::string> {
    if (ktls::suite_from_name(suite)) return std::nullopt;
    constexpr std::array<std::string_view, 3> kNames{
        "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"};
    return "names '" + suite +
           "', which is none of TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384 and "
           "TLS_CHACHA20_POLY1305_SHA256" +
           did_you_mean(suite, kNames);
  });
}

std::expected<std::vector<std::string>, std::string> parse_alpn_list(std::string_view text) {
  if (text == "none") return {};
  return parse_list(text, [](const std::string& protocol) -> std::optional<std::string> {
    if (protocol.empty() || protocol.size() > 255) {
      return "is not a list of protocols such as h2:http/1.1, of 1 to 255 bytes each";
    }
    if (protocol == "none") return "has 'none' beside protocols";
    return std::nullopt;
  });
}

std::expected<LiveCause, std::string> parse_live_cause(std::string_view text) {
  const auto word = std::ranges::find(kKeepLiveWords, text);
  if (word != kKeepLiveWords.end()) return static_cast<LiveCause>(word - kKeepLiveWords.begin());
  std::string all;
  for (const std::string_view each : kKeepLiveWords) {
    if (!all.empty()) all += ", ";
    all += each;
  }
  return std::unexpected("is none of " + all + did_you_mean(text, kKeepLiveWords));
}

std::expected<std::string, std::string> parse_groups(std::string_view text) {
  const auto allowed = [](char c) {
    return ktls::is_ascii_letter(c) || ktls::is_ascii_digit(c) || c == '-' || c == '_' || c == ':';
  };
  const bool gap = text.starts_with(':') || text.ends_with(':') || text.contains("::");
  if (text.empty() || gap || !std::ranges::all_of(text, allowed)) {
    return std::unexpected(std::string("is not a list of group names such as X25519:P-256"));
  }
  return std::string(text);
}

}  // namespace sallyport::gateway
