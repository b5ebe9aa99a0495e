#include "gateway/policy/pattern.h"

#include <algorithm>

#include "gateway/policy/config_error.h"
#include "gateway/policy/host_name.h"
#include "ktls/base/spiffe.h"
#include "ktls/trust/identity.h"

namespace sallyport::gateway {
namespace {

using ktls::is_dot_segment;
using ktls::is_spiffe_text;
using ktls::kMaxSpiffeIdBytes;
using ktls::kMaxTrustDomainBytes;
using ktls::kSpiffeScheme;

constexpr std::string_view kDnsPrefix = "dns:";
constexpr std::string_view kAny = "*";
constexpr std::string_view kRest = "**";

bool equals_ignoring_case(std::string_view text, std::string_view lower) {
  return text.size() == lower.size() &&
         std::equal(text.begin(), text.end(), lower.begin(),
                    [](char a, char b) { return ascii_lower(a) == b; });
}

// What `*` stands for. Identities were checked when they were taken from the certificate; that a
// wildcard admits nothing odd must not depend on it.
bool is_whole_segment(std::string_view segment) {
  return !segment.empty() && !is_dot_segment(segment) &&
         segment.find('%') == std::string_view::npos;
}

// Cuts the first segment off a path without its leading slash. False at the end of the path.
bool next_segment(std::string_view& path, bool& more, std::string_view& segment) {
  if (!more) return false;
  const std::size_t slash = path.find('/');
  segment = path.substr(0, slash);
  more = slash != std::string_view::npos;
  if (more) path.remove_prefix(slash + 1);
  return true;
}

}  // namespace

std::expected<IdentityPattern, std::string> IdentityPattern::parse(std::string_view text) {
  if (text.starts_with(kSpiffeScheme)) return parse_spiffe(text.substr(kSpiffeScheme.size()));
  if (text.starts_with(kDnsPrefix)) return parse_dns(text.substr(kDnsPrefix.size()));
  return std::unexpected("'" + printable(text) +
                         "' is no identity pattern: it must start with spiffe:// or dns:");
}

std::expected<IdentityPattern, std::string> IdentityPattern::parse_spiffe(std::string_view rest) {
  if (rest.size() + kSpiffeScheme.size() > kMaxSpiffeIdBytes) {
    return std::unexpected("longer than the 2048 bytes that a SPIFFE ID may have");
  }
  const std::size_t slash = rest.find('/');
  const std::string_view domain = rest.substr(0, slash);
  if (domain.empty()) return std::unexpected("the trust domain is missing");
  if (domain.find('*') != std::string_view::npos) {
    return std::unexpected("a trust domain cannot have a wildcard");
  }
  if (domain.size() > kMaxTrustDomainBytes) {
    return std::unexpected("the trust domain is longer than 255 bytes");
  }
  if (!is_spiffe_text(domain)) {
    return std::unexpected("the trust domain '" + printable(domain) +
                           "' has other characters than letters, digits, '.', '-' and '_'");
  }
  IdentityPattern pattern;
  pattern.kind_ = Kind::kSpiffe;
  pattern.host_ = ascii_lower(domain);
  if (slash == std::string_view::npos) {
    return std::unexpected("the path is missing; spiffe://" + pattern.host_ +
                           "/** means every workload of the trust domain");
  }

  std::string_view path = rest.substr(slash + 1);
  std::string_view segment;
  for (bool more = true; next_segment(path, more, segment);) {
    if (segment.empty()) return std::unexpected("the path has an empty segment");
    if (is_dot_segment(segment)) {
      return std::unexpected("the path has the segment '" + std::string(segment) + "'");
    }
    if (segment == kRest && more) return std::unexpected("'**' can only be the last segment");
    if (segment != kRest && segment != kAny) {
      if (segment.find('*') != std::string_view::npos) {
        return std::unexpected("'*' must be a whole segment, not part of '" + printable(segment) +
                               "'");
      }
      if (!is_spiffe_text(segment)) {
        return std::unexpected("the segment '" + printable(segment) +
                               "' has other characters than letters, digits, '.', '-' and '_'");
      }
    }
    pattern.segments_.emplace_back(segment);
  }
  pattern.text_ = kSpiffeScheme;
  pattern.text_ += pattern.host_;
  pattern.text_ += rest.substr(slash);
  return pattern;
}

std::expected<IdentityPattern, std::string> IdentityPattern::parse_dns(std::string_view rest) {
  IdentityPattern pattern;
  pattern.kind_ = Kind::kDns;
  pattern.any_label_ = rest.starts_with("*.");
  const std::string_view name = pattern.any_label_ ? rest.substr(2) : rest;
  if (rest == kAny || (pattern.any_label_ && name.find('.') == std::string_view::npos)) {
    return std::unexpected("a DNS wildcard needs at least two labels after '*.'");
  }
  if (name.find('*') != std::string_view::npos) {
    return std::unexpected("'*' can only be the whole leftmost label");
  }
  if (!is_host_name(name, Underscore::kRefused)) {
    return std::unexpected("'" + printable(name) +
                           "' is no DNS name: labels of letters, digits and hyphens");
  }
  pattern.host_ = ascii_lower(name);
  pattern.text_ = kDnsPrefix;
  if (pattern.any_label_) pattern.text_ += "*.";
  pattern.text_ += pattern.host_;
  return pattern;
}

bool IdentityPattern::matches(const ktls::PeerIdentity& peer) const {
  if (kind_ == Kind::kSpiffe) return matches_spiffe(peer.spiffe);
  return std::ranges::any_of(peer.dns, [&](const auto& name) { return matches_dns(name); });
}

bool IdentityPattern::matches_spiffe(std::string_view id) const {
  if (kind_ != Kind::kSpiffe) return false;
  if (id.size() < kSpiffeScheme.size() ||
      !equals_ignoring_case(id.substr(0, kSpiffeScheme.size()), kSpiffeScheme)) {
    return false;
  }
  id.remove_prefix(kSpiffeScheme.size());
  const std::size_t slash = id.find('/');
  if (slash == std::string_view::npos || !equals_ignoring_case(id.substr(0, slash), host_)) {
    return false;
  }
  std::string_view path = id.substr(slash + 1);
  std::string_view segment;
  bool more = true;
  for (const std::string& wanted : segments_) {
    if (!next_segment(path, more, segment) || !is_whole_segment(segment)) return false;
    if (wanted == kAny) continue;
    if (wanted == kRest) {
      while (next_segment(path, more, segment)) {
        if (!is_whole_segment(segment)) return false;
      }
      return true;
    }
    if (segment != wanted) return false;
  }
  return !more;
}

bool IdentityPattern::matches_dns(std::string_view name) const {
  if (kind_ != Kind::kDns) return false;
  if (any_label_) {
    const std::size_t dot = name.find('.');
    if (dot == std::string_view::npos) return false;
    if (!is_host_label(name.substr(0, dot), Underscore::kRefused)) return false;
    name.remove_prefix(dot + 1);
  }
  return equals_ignoring_case(name, host_);
}

std::size_t IdentityPattern::nearness(const ktls::PeerIdentity& peer) const {
  if (kind_ == Kind::kSpiffe) return nearness_to_spiffe(peer.spiffe);
  std::size_t nearest = 0;
  for (const std::string& name : peer.dns) nearest = std::max(nearest, nearness_to_dns(name));
  return nearest;
}

// Of an identity, whose scheme and trust domain are in lower case.
std::size_t IdentityPattern::nearness_to_spiffe(std::string_view id) const {
  if (!id.starts_with(kSpiffeScheme)) return 0;
  id.remove_prefix(kSpiffeScheme.size());
  const std::size_t slash = id.find('/');
  if (slash == std::string_view::npos || id.substr(0, slash) != host_) return 0;
  std::string_view path = id.substr(slash + 1);
  std::string_view segment;
  bool more = true;
  std::size_t near = 1;
  for (const std::string& wanted : segments_) {
    if (!next_segment(path, more, segment)) break;
    if (wanted != kAny && wanted != kRest && segment != wanted) break;
    ++near;
  }
  return near;
}

std::size_t IdentityPattern::nearness_to_dns(std::string_view name) const {
  std::string_view host = host_;
  std::size_t near = 0;
  for (bool more = true; more; ++near) {
    const std::size_t dot = name.rfind('.');
    const std::size_t host_dot = host.rfind('.');
    if (name.substr(dot + 1) != host.substr(host_dot + 1)) break;
    more = dot != std::string_view::npos && host_dot != std::string_view::npos;
    name = name.substr(0, dot);
    host = host.substr(0, host_dot);
  }
  return near >= 2 ? near : 0;
}

bool IdentityPattern::covers(const IdentityPattern& other) const {
  if (kind_ != other.kind_) return false;
  if (kind_ == Kind::kDns) {
    if (!any_label_) return !other.any_label_ && host_ == other.host_;
    if (other.any_label_) return host_ == other.host_;
    return matches_dns(other.host_);
  }
  if (host_ != other.host_) return false;
  for (std::size_t i = 0; i < segments_.size(); ++i) {
    // The other one ends here, so it matches something shorter than this one does.
    if (i >= other.segments_.size()) return false;
    // From here on this one takes all, and the other has at least one segment left.
    if (segments_[i] == kRest) return true;
    if (other.segments_[i] == kRest) return false;
    if (segments_[i] != kAny && segments_[i] != other.segments_[i]) return false;
  }
  return segments_.size() == other.segments_.size();
}

bool IdentityPattern::has_wildcard() const {
  return any_label_ || std::ranges::any_of(segments_, [](const std::string& segment) {
           return segment == kAny || segment == kRest;
         });
}

std::string_view IdentityPattern::trust_domain() const {
  return kind_ == Kind::kSpiffe ? std::string_view(host_) : std::string_view();
}

}  // namespace sallyport::gateway
