#include "gateway/policy/proxy_rule.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <utility>

#include "ktls/base/hex.h"

namespace sallyport::gateway {
namespace {

using Outcome = JsonReader::Outcome;

constexpr ProxyTlv kAllTlvs[] = {ProxyTlv::kAuthority, ProxyTlv::kAlpn, ProxyTlv::kUniqueId,
                                 ProxyTlv::kCrc32c,    ProxyTlv::kSsl,  ProxyTlv::kIdentity,
                                 ProxyTlv::kClientCert};

// The certificate has its price, full handshakes: only who names it pays.
ProxyRule everything_cheap() {
  ProxyRule rule{.tlvs = {std::begin(kAllTlvs), std::end(kAllTlvs)}};
  std::erase(rule.tlvs, ProxyTlv::kClientCert);
  return rule;
}

std::string all_words() {
  std::string words;
  for (const ProxyTlv tlv : kAllTlvs)
    words += (words.empty() ? "" : ", ") + std::string(to_string(tlv));
  return words;
}

// An empty list is the addresses alone.
Outcome read_tlvs(const JsonReader& reader, ProxyRule& rule, const JsonValue& value,
                  const std::string& key) {
  rule.tlvs.clear();
  if (value.array() != nullptr && value.array()->empty()) return {};
  if (auto checked = reader.check_strings(value, key); !checked) return checked;
  for (const JsonValue& item : *value.array()) {
    const std::string place = item_key(key, rule.tlvs.size());
    const std::string& word = *item.string();
    const auto* const tlv =
        std::ranges::find(kAllTlvs, word, [](ProxyTlv each) { return to_string(each); });
    if (tlv == std::end(kAllTlvs))
      return reader.refuse(item.line, place, "must be one of " + all_words());
    if (rule.has(*tlv)) return reader.refuse(item.line, place, "is listed twice");
    rule.tlvs.push_back(*tlv);
  }
  return {};
}

// "0xE0" to "0xEF": the others are registered, reserved or for experiments.
std::optional<std::uint8_t> parse_custom_type(std::string_view text) {
  if (text.size() != 4 || !text.starts_with("0x")) return std::nullopt;
  const int low = ktls::hex_digit(text[3]);
  if (ktls::hex_digit(text[2]) != 0xE || low < 0) return std::nullopt;
  return static_cast<std::uint8_t>(0xE0 + low);
}

Outcome read_identity_type(const JsonReader& reader, ProxyRule& rule, const JsonValue& value,
                           const std::string& key) {
  if (auto checked = reader.check_text(value, key); !checked) return checked;
  const auto type = parse_custom_type(*value.string());
  if (!type) return reader.refuse(value.line, key, "must be a type from \"0xE0\" to \"0xEF\"");
  rule.identity_type = *type;
  return {};
}

}  // namespace

std::string_view to_string(ProxyTlv tlv) {
  switch (tlv) {
    case ProxyTlv::kAuthority:
      return "authority";
    case ProxyTlv::kAlpn:
      return "alpn";
    case ProxyTlv::kUniqueId:
      return "unique_id";
    case ProxyTlv::kCrc32c:
      return "crc32c";
    case ProxyTlv::kSsl:
      return "ssl";
    case ProxyTlv::kIdentity:
      return "identity";
    case ProxyTlv::kClientCert:
      return "client_cert";
  }
  std::abort();
}

JsonReader::Outcome read_proxy_rule(const JsonReader& reader, std::optional<ProxyRule>& target,
                                    const JsonValue& value, const std::string& key) {
  ProxyRule rule = everything_cheap();
  if (value.string() != nullptr && *value.string() == "v2") {
    target = std::move(rule);
    return {};
  }
  if (value.object() == nullptr)
    return reader.refuse(value.line, key, "must be \"v2\" or an object with \"tlvs\"");
  const JsonValue* type = nullptr;
  Outcome read = reader.read_object(
      value, key, [&](const ReadMember& member, const std::string& place) -> JsonReader::Known {
        if (member.is("tlvs")) return read_tlvs(reader, rule, member.value, place);
        if (!member.is("identity-type")) return std::nullopt;
        type = &member.value;
        return read_identity_type(reader, rule, member.value, place);
      });
  if (!read) return read;
  if (rule.has(ProxyTlv::kClientCert) && !rule.has(ProxyTlv::kSsl))
    return reader.refuse(value.find("tlvs")->line, key + ".tlvs",
                         "\"client_cert\" is a part of \"ssl\", which is not among them");
  if (type != nullptr && !rule.has(ProxyTlv::kIdentity))
    return reader.refuse(type->line, key + ".identity-type",
                         "is for \"identity\", which is not among the tlvs");
  target = std::move(rule);
  return {};
}

}  // namespace sallyport::gateway
