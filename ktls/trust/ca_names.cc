#include "ktls/trust/ca_names.h"

#include <openssl/x509.h>

#include <algorithm>

namespace sallyport::ktls {

void CaNames::add(const X509_NAME* name, const std::optional<std::string>& domain) {
  const auto [known, is_new] = known_.emplace(name_hash(name), entries_.size());
  if (is_new) {
    constexpr std::size_t kLength = 2;  // in front of each name in the message
    entries_.push_back({.name = name,
                        .size = static_cast<std::size_t>(i2d_X509_NAME(name, nullptr)) + kLength,
                        .unscoped = false,
                        .domains = {}});
  }
  Entry& entry = entries_[known->second];
  if (domain) {
    entry.domains.push_back(*domain);
  } else {
    entry.unscoped = true;
  }
}

bool CaNames::matters(const Entry& entry, Clients clients) {
  return clients == nullptr || entry.unscoped ||
         std::ranges::find_first_of(entry.domains, *clients) != entry.domains.end();
}

std::size_t CaNames::size(Clients clients) const {
  std::size_t sum = 0;
  for (const Entry& entry : entries_)
    if (matters(entry, clients)) sum += entry.size;
  return sum;
}

std::vector<const X509_NAME*> CaNames::fitting(Clients clients) const {
  std::vector<const X509_NAME*> names;
  if (size(clients) > kMost) return names;
  for (const Entry& entry : entries_)
    if (matters(entry, clients)) names.push_back(entry.name);
  return names;
}

}  // namespace sallyport::ktls
