#include "gateway/backends/expected_backend.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "gateway/backends/target.h"
#include "gateway/policy/host_name.h"
#include "ktls/base/wire.h"
#include "ktls/trust/identity.h"
#include "ktls/trust/x509_facts.h"

namespace sallyport::gateway {
namespace {

// Of a target that is a name; else empty.
std::string host_name_of(const std::string& target) {
  auto parsed = Target::parse(target);
  if (!parsed || parsed->kind != Target::Kind::kName) return {};
  return std::move(parsed->host);
}

bool matches_one(const std::vector<IdentityPattern>& patterns, const ktls::PeerIdentity& server) {
  return std::ranges::any_of(patterns,
                             [&](const IdentityPattern& each) { return each.matches(server); });
}

std::string list_of(const std::vector<IdentityPattern>& patterns) {
  std::string text;
  for (const IdentityPattern& each : patterns) {
    if (!text.empty()) text += ", ";
    text += each.text();
  }
  return text;
}

}  // namespace

std::expected<ExpectedBackend, std::string> ExpectedBackend::of(const BackendTls& rule,
                                                                const GroupLabels& labels,
                                                                const std::string& target) {
  ExpectedBackend expected;
  expected.one_of_ = rule.verify;
  const std::string host = host_name_of(target);
  std::string own = labels.tls_id;
  if (own.empty() && !labels.tls_name.empty()) own = "dns:" + labels.tls_name;
  if (own.empty() && rule.verify.empty() && !host.empty()) own = "dns:" + host;
  if (own.empty() && rule.verify.empty())
    return std::unexpected("has no tls_id, tls_name or host name that it could prove");
  if (labels.tls_id.empty() && is_ip_literal(labels.tls_name))
    return std::unexpected("cannot prove its tls_name, an address: certificates are taken by name");
  if (!own.empty()) {
    auto parsed = IdentityPattern::parse(own);
    if (!parsed) return std::unexpected("cannot prove to be " + own + ": " + parsed.error());
    expected.itself_ = *std::move(parsed);
  }
  const bool allowed = labels.tls_id.empty() || rule.verify.empty() ||
                       std::ranges::any_of(rule.verify, [&](const IdentityPattern& each) {
                         return each.covers(*expected.itself_);
                       });
  if (!allowed) return std::unexpected("has a tls_id that \"verify\" does not have: " + own);
  expected.server_name_ = !rule.sni.empty() ? rule.sni : labels.tls_name;
  if (expected.server_name_.empty()) expected.server_name_ = host;
  return expected;
}

std::optional<std::string> ExpectedBackend::refuse(const ktls::PeerIdentity& server) const {
  if (itself_ && !itself_->matches(server))
    return "is " + server.display() + ", not " + itself_->text();
  if (!one_of_.empty() && !matches_one(one_of_, server))
    return "is " + server.display() + ", none of " + list_of(one_of_);
  return std::nullopt;
}

ktls::Sha256 ExpectedBackend::digest() const {
  ktls::WireWriter out;
  out.text(itself_ ? itself_->text() : std::string_view());
  for (const IdentityPattern& each : one_of_) out.text(each.text());
  return ktls::sha256(out.bytes());
}

}  // namespace sallyport::gateway
