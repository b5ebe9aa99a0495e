#include "gateway/policy/backend_tls.h"

#include <string_view>
#include <utility>

#include "gateway/policy/host_name.h"
#include "gateway/policy/string_list.h"

namespace sallyport::gateway {
namespace {

using Outcome = JsonReader::Outcome;

constexpr ktls::RecordVersion kVersions[] = {ktls::RecordVersion::kTls12,
                                             ktls::RecordVersion::kTls13};

std::string_view word_of(ktls::RecordVersion version) {
  return version == ktls::RecordVersion::kTls12 ? "1.2" : "1.3";
}

Outcome read_verify(const JsonReader& reader, BackendTls& tls, const JsonValue& value,
                    const std::string& key) {
  if (value.string() == nullptr) return read_patterns(reader, tls.verify, value, key);
  if (*value.string() == "endpoint") return {};
  return reader.refuse(value.line, key, "must be \"endpoint\" or an array of identity patterns");
}

Outcome read_server_name(const JsonReader& reader, BackendTls& tls, const JsonValue& value,
                         const std::string& key) {
  if (auto checked = reader.check_text(value, key); !checked) return checked;
  const std::string& name = *value.string();
  // RFC 6066 3: no address, and no dot at the end.
  if (is_ip_literal(name) || !is_host_name(name, Underscore::kAllowed))
    return reader.refuse(value.line, key, "'" + printable(name) + "' is no host name");
  tls.sni = ascii_lower(name);
  return {};
}

Outcome read_offer(const JsonReader& reader, BackendTls& tls, const JsonValue& value,
                   const std::string& key) {
  if (value.string() == nullptr) return read_protocols(reader, tls.alpn, value, key);
  tls.forward_alpn = *value.string() == "forward";
  if (tls.forward_alpn) return {};
  return reader.refuse(value.line, key, "must be \"forward\" or an array of protocols");
}

Outcome read_starttls(const JsonReader& reader, BackendTls& tls, const JsonValue& value,
                      const std::string& key) {
  tls.starttls_postgresql = value.string() != nullptr && *value.string() == "postgresql";
  if (tls.starttls_postgresql) return {};
  return reader.refuse(value.line, key, "must be \"postgresql\"");
}

Outcome read_credentials_name(const JsonReader& reader, NamedFiles& named, BackendTls& tls,
                              RouteFiles& files, const JsonValue& value, const std::string& key) {
  if (value.string() != nullptr && *value.string() == "none") {
    tls.presents_certificate = false;
    return {};
  }
  if (auto checked = reader.check_text(value, key); !checked) return checked;
  tls.credentials = *value.string();
  return named.choose_credentials(reader, files, value, key);
}

Outcome read_trust_name(const JsonReader& reader, NamedFiles& named, BackendTls& tls,
                        RouteFiles& files, const JsonValue& value, const std::string& key) {
  auto chosen = named.choose_trust(reader, files, value, key);
  if (chosen) tls.trust = *value.string();
  return chosen;
}

}  // namespace

Outcome read_backend_tls(const JsonReader& reader, NamedFiles& named,
                         std::optional<BackendTls>& target, RouteFiles& files,
                         const JsonValue& value, const std::string& key) {
  BackendTls tls;
  Outcome read = reader.read_object(
      value, key, [&](const ReadMember& member, const std::string& place) -> JsonReader::Known {
        const JsonValue& inner = member.value;
        if (member.is("verify")) return read_verify(reader, tls, inner, place);
        if (member.is("sni")) return read_server_name(reader, tls, inner, place);
        if (member.is("trust")) return read_trust_name(reader, named, tls, files, inner, place);
        if (member.is("credentials"))
          return read_credentials_name(reader, named, tls, files, inner, place);
        if (member.is("alpn")) return read_offer(reader, tls, inner, place);
        if (member.is("min-tls"))
          return reader.read_word(tls.min_version, kVersions, word_of, inner, place);
        if (member.is("starttls")) return read_starttls(reader, tls, inner, place);
        return std::nullopt;
      });
  if (!read) return read;
  if (value.find("verify") == nullptr)
    return reader.refuse(value.line, key,
                         "\"verify\" is missing: identity patterns, or \"endpoint\"");
  target = std::move(tls);
  return {};
}

}  // namespace sallyport::gateway
