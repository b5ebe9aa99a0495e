#include "gateway/run/credentials_table.h"

#include <algorithm>
#include <optional>

namespace sallyport::gateway {
ktls::CredentialFiles credential_files(const Options& options, const RouteFiles& named) {
  ktls::CredentialFiles files;
  for (const NamedCredentials& each : named.credentials)
    files.pairs.push_back(
        {.cert = each.cert, .key = each.key, .given_as = "credentials." + each.name});
  if (named.credentials.empty()) {
    for (const auto& pair : options.pairs) files.pairs.push_back({pair.cert, pair.key});
  }
  files.trust_only = options.explain || files.pairs.empty();
  if (named.trust) {
    files.trust_given_as = "trust." + named.trust->name;
    for (const std::string& file : named.trust->ca)
      files.ca.push_back({named.trust->trust_domain, file});
    files.crls = named.trust->crls;
    return files;
  }
  for (const auto& bundle : options.ca) files.ca.push_back({bundle.trust_domain, bundle.file});
  files.crls = options.crl;
  return files;
}

std::vector<std::string> sources_of(const ktls::CredentialFiles& files) {
  std::vector<std::string> sources;
  if (!files.trust_only) {
    for (const auto& pair : files.pairs) {
      sources.push_back(pair.cert);
      sources.push_back(pair.key);
    }
  }
  for (const auto& bundle : files.ca) sources.push_back(bundle.file);
  for (const auto& crl : files.crls) sources.push_back(crl);
  if (files.ticket_keys) sources.push_back(*files.ticket_keys);
  return sources;
}

bool CredentialsTable::operator==(const CredentialsTable& other) const {
  return std::ranges::equal(entries_, other.entries_, [](const Entry& one, const Entry& another) {
    return one.named == another.named && one.credentials == another.credentials;
  });
}

const CredentialsTable::Entry* CredentialsTable::find(const RouteFiles& named) const {
  const auto found = std::ranges::find(entries_, named, &Entry::named);
  return found == entries_.end() ? nullptr : &*found;
}

const CredentialsTable::Pointer& CredentialsTable::of_flags() const {
  static const Pointer none;
  const Entry* const entry = find({});
  return entry == nullptr ? none : entry->credentials;
}

void CredentialsTable::set(Entry entry) {
  const auto known = std::ranges::find(entries_, entry.named, &Entry::named);
  if (known == entries_.end()) {
    entries_.push_back(std::move(entry));
  } else {
    *known = std::move(entry);
  }
}

const CredentialsTable::Entry* CredentialsTable::find_trust(const RouteFiles& named) const {
  const auto found = std::ranges::find(entries_, named.trust,
                                       [](const Entry& entry) { return entry.named.trust; });
  return found == entries_.end() ? nullptr : &*found;
}

const CredentialsTable::Entry* CredentialsTable::find_before(const RouteFiles& named) const {
  if (const Entry* const same = find(named)) return same;
  if (const Entry* const same = find_trust(named)) return same;
  const auto is_renewed = [&named](const Entry& entry) {
    return named.trust && entry.named.trust && entry.named.trust->name == named.trust->name;
  };
  const auto found = std::ranges::find_if(entries_, is_renewed);
  return found == entries_.end() ? nullptr : &*found;
}

void CredentialsTable::keep_only(const Policy& policy) {
  std::erase_if(entries_, [&policy](const Entry& entry) { return !policy.names(entry.named); });
}

}  // namespace sallyport::gateway
