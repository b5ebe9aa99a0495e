#include "gateway/run/credentials_table.h"

#include <algorithm>
#include <optional>

#include "ktls/trust/credential_file.h"

namespace sallyport::gateway {
namespace {

// The directory itself changes as well, by its mode.
void add_source(std::vector<std::filesystem::path>& files, const std::string& path) {
  const auto found = ktls::files_of(path);
  const bool is_file = found && found->size() == 1 && found->front() == path;
  files.emplace_back(path);
  if (found && !is_file) files.insert(files.end(), found->begin(), found->end());
}

}  // namespace

ktls::CredentialFiles credential_files(const Options& options, const RouteFiles& named) {
  ktls::CredentialFiles files;
  files.trust_only = options.explain.has_value();
  for (const NamedCredentials& each : named.credentials)
    files.pairs.push_back(
        {.cert = each.cert, .key = each.key, .given_as = "credentials." + each.name});
  if (named.credentials.empty()) {
    for (const auto& pair : options.pairs) files.pairs.push_back({pair.cert, pair.key});
  }
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

std::vector<std::filesystem::path> watched_files(const ktls::CredentialFiles& files) {
  std::vector<std::filesystem::path> watched;
  if (!files.trust_only) {
    for (const auto& pair : files.pairs) {
      watched.emplace_back(pair.cert);
      watched.emplace_back(pair.key);
    }
  }
  for (const auto& bundle : files.ca) add_source(watched, bundle.file);
  for (const auto& crl : files.crls) add_source(watched, crl);
  if (files.ticket_keys) watched.emplace_back(*files.ticket_keys);
  return watched;
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
  static const Pointer kNone;
  const Entry* const entry = find({});
  return entry == nullptr ? kNone : entry->credentials;
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

void CredentialsTable::keep_only(const Policy& policy) {
  std::erase_if(entries_, [&policy](const Entry& entry) {
    return std::ranges::find(policy.files(), entry.named) == policy.files().end();
  });
}

}  // namespace sallyport::gateway
