#include "gateway/policy/named_files.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>

#include "gateway/policy/host_name.h"

namespace sallyport::gateway {
namespace {

using Outcome = JsonReader::Outcome;

std::string beside(const std::string& policy_file, const std::string& path) {
  return (std::filesystem::path(policy_file).parent_path() / path).string();
}

Outcome read_file(const JsonReader& reader, std::string& target, const JsonValue& value,
                  const std::string& key) {
  if (auto checked = reader.check_text(value, key); !checked) return checked;
  // They would end the path early, or stand in messages.
  const std::string& path = *value.string();
  if (printable(path, path.size()) != path)
    return reader.refuse(value.line, key, "a path has no control characters");
  target = beside(reader.file(), path);
  return {};
}

Outcome read_files(const JsonReader& reader, std::vector<std::string>& target,
                   const JsonValue& value, const std::string& key) {
  if (auto checked = reader.check_strings(value, key); !checked) return checked;
  for (const JsonValue& item : *value.array()) {
    std::string& file = target.emplace_back();
    if (auto read = read_file(reader, file, item, item_key(key, target.size() - 1)); !read)
      return read;
  }
  return {};
}

std::expected<NamedCredentials, ConfigError> read_credentials(const JsonReader& reader,
                                                              const JsonMember& member,
                                                              const std::string& key) {
  NamedCredentials made{.name = member.key, .cert = {}, .key = {}};
  const JsonValue& value = member.value;
  auto read = reader.read_object(
      value, key, [&](const ReadMember& inner, const std::string& place) -> JsonReader::Known {
        if (inner.is("key")) return read_file(reader, made.key, inner.value, place);
        if (inner.is("cert") || inner.is("bundle"))
          return read_file(reader, made.cert, inner.value, place);
        return std::nullopt;
      });
  if (!read) return std::unexpected(std::move(read.error()));
  const bool bundle = value.find("bundle") != nullptr;
  const bool pair = value.find("cert") != nullptr && value.find("key") != nullptr;
  const bool any_of_pair = value.find("cert") != nullptr || value.find("key") != nullptr;
  if (bundle == pair || bundle == any_of_pair)
    return reader.refuse(member.line, key, "has either \"cert\" and \"key\", or \"bundle\"");
  if (bundle) made.key = made.cert;
  return made;
}

std::expected<NamedTrust, ConfigError> read_trust(const JsonReader& reader,
                                                  const JsonMember& member,
                                                  const std::string& key) {
  NamedTrust made{.name = member.key, .ca = {}, .crls = {}, .trust_domain = {}};
  auto read = reader.read_object(
      member.value, key,
      [&](const ReadMember& inner, const std::string& place) -> JsonReader::Known {
        if (inner.is("ca")) return read_files(reader, made.ca, inner.value, place);
        if (inner.is("crl")) return read_files(reader, made.crls, inner.value, place);
        if (!inner.is("trust-domain")) return std::nullopt;
        auto checked = reader.check_text(inner.value, place);
        if (checked) made.trust_domain = *inner.value.string();
        return checked;
      });
  if (!read) return std::unexpected(std::move(read.error()));
  if (made.ca.empty()) return reader.refuse(member.line, key, "\"ca\" is missing");
  return made;
}

// Reads the object `word` of the top level, if it is there.
template <class Definitions, class Read>
Outcome read_all(const JsonReader& reader, const JsonValue& root, const std::string& word,
                 Definitions& definitions, Read read) {
  const JsonValue* const all = root.find(word);
  if (all == nullptr) return {};
  return reader.read_object(
      *all, word, [&](const ReadMember& entry, const std::string& key) -> Outcome {
        const JsonMember& member = entry.member;
        if (!is_route_name(member.key))
          return reader.refuse(member.line, key,
                               "a name has 1 to 255 bytes and no control characters");
        auto files = read(reader, member, key);
        if (!files) return std::unexpected(std::move(files.error()));
        definitions.push_back({.files = *std::move(files), .line = member.line});
        return {};
      });
}

template <class Definitions>
auto find_named(Definitions& definitions, const std::string& name) {
  return std::ranges::find_if(definitions,
                              [&name](const auto& each) { return each.files.name == name; });
}

}  // namespace

std::expected<NamedFiles, ConfigError> NamedFiles::read(const JsonReader& reader,
                                                        const JsonValue& root) {
  NamedFiles made;
  auto done = read_all(reader, root, "credentials", made.credentials_, read_credentials);
  if (done) done = read_all(reader, root, "trust", made.trust_, read_trust);
  if (!done) return std::unexpected(std::move(done.error()));
  return made;
}

Outcome NamedFiles::choose_credentials(const JsonReader& reader, RouteFiles& files,
                                       const JsonValue& value, const std::string& key) {
  if (value.array() == nullptr) return choose_one(reader, files, value, key);
  if (value.array()->empty()) return reader.refuse(value.line, key, "must not be empty");
  for (const JsonValue& item : *value.array()) {
    auto chosen = choose_one(reader, files, item, item_key(key, files.credentials.size()));
    if (!chosen) return chosen;
  }
  return {};
}

Outcome NamedFiles::choose_one(const JsonReader& reader, RouteFiles& files, const JsonValue& value,
                               const std::string& key) {
  if (auto checked = reader.check_text(value, key); !checked) return checked;
  const std::string& name = *value.string();
  const auto found = find_named(credentials_, name);
  if (found == credentials_.end())
    return reader.refuse(value.line, key, "no \"credentials\" has the name " + printable(name));
  if (std::ranges::find(files.credentials, name, &NamedCredentials::name) !=
      files.credentials.end())
    return reader.refuse(value.line, key, "is listed twice");
  found->used = true;
  files.credentials.push_back(found->files);
  return {};
}

Outcome NamedFiles::choose_trust(const JsonReader& reader, RouteFiles& files,
                                 const JsonValue& value, const std::string& key) {
  if (auto checked = reader.check_text(value, key); !checked) return checked;
  const auto found = find_named(trust_, *value.string());
  if (found == trust_.end())
    return reader.refuse(value.line, key,
                         "no \"trust\" has the name " + printable(*value.string()));
  found->used = true;
  files.trust = found->files;
  return {};
}

// It reads as if clients were judged by it.
Outcome NamedFiles::check_use(const JsonReader& reader) const {
  const auto check = [&reader](const auto& all, const std::string& word) -> Outcome {
    for (const auto& each : all)
      if (!each.used)
        return reader.refuse(each.line, word + "." + printable(each.files.name), "no route has it");
    return {};
  };
  if (auto checked = check(credentials_, "credentials"); !checked) return checked;
  return check(trust_, "trust");
}

}  // namespace sallyport::gateway
