#pragma once

#include <cstddef>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace sallyport::ktls {
struct PeerIdentity;
}

namespace sallyport::gateway {

/// One pattern over identities of verified certificates. Two kinds:
///
///   spiffe://trust-domain/a/*/c, spiffe://trust-domain/**
///       `*` is one whole segment, `**` (last only) one or more; the trust domain in any case and
///       without wildcard, the path exact.
///   dns:a.b.c, dns:*.b.c
///       `*` is the one leftmost label; any case.
///
/// Nothing else: no regular expressions, no partial wildcards, no CN. A value.
class IdentityPattern {
 public:
  /// The error is one sentence: what is wrong with the pattern.
  static std::expected<IdentityPattern, std::string> parse(std::string_view text);

  /// Either kind of the peer's identity may match.
  bool matches(const ktls::PeerIdentity& peer) const;
  bool matches_spiffe(std::string_view id) const;
  bool matches_dns(std::string_view name) const;

  /// How near the pattern comes to matching, for people who look for the rule that was meant. Of a
  /// SPIFFE pattern: 0 in another trust domain, else 1 and the number of segments from the left
  /// that match one by one, up to the first that does not (`**` matches what is left). Of a DNS
  /// pattern: the number of labels from the right that equal those of a name of the peer, if that
  /// is at least two, else 0; of several names the most.
  std::size_t nearness(const ktls::PeerIdentity& peer) const;

  /// Whether everything that `other` matches is matched by this one.
  bool covers(const IdentityPattern& other) const;

  /// Can cover a pattern other than itself.
  bool has_wildcard() const;

  /// In lower case; empty for a DNS pattern.
  std::string_view trust_domain() const;

  /// Canonical form: equal for patterns that match the same identities.
  const std::string& text() const { return text_; }

 private:
  enum class Kind { kSpiffe, kDns };

  std::size_t nearness_to_spiffe(std::string_view id) const;
  std::size_t nearness_to_dns(std::string_view name) const;
  static std::expected<IdentityPattern, std::string> parse_spiffe(std::string_view rest);
  static std::expected<IdentityPattern, std::string> parse_dns(std::string_view rest);

  Kind kind_ = Kind::kDns;
  std::string text_;
  std::string host_;                   // trust domain, or DNS name without "*."; in lower case
  bool any_label_ = false;             // dns:*.host_
  std::vector<std::string> segments_;  // SPIFFE path, "*" and "**" as written
};

}  // namespace sallyport::gateway
