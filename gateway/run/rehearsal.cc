#include "gateway/run/rehearsal.h"

#include <cstdio>
#include <map>
#include <tuple>
#include <utility>

#include "gateway/observe/text_value.h"
#include "gateway/policy/judge.h"
#include "gateway/run/configuration_error.h"
#include "gateway/run/exit_code.h"
#include "gateway/run/inventory_client.h"
#include "gateway/run/versions.h"

namespace sallyport::gateway {
namespace {

using ktls::HandshakeResult;

// By its order among the words, the route and the identity.
using Counts = std::map<std::tuple<std::size_t, std::string, std::string>, std::uint64_t>;

template <class ToWord>
std::vector<Rehearsal::Group> groups(const Counts& counts, ToWord to_word) {
  std::vector<Rehearsal::Group> all;
  for (const auto& [key, connections] : counts) {
    const auto& [word, route, identity] = key;
    all.push_back({std::string(to_word(word)), route, identity, connections});
  }
  return all;
}

std::string counted(std::uint64_t connections) {
  return std::to_string(connections) + (connections == 1 ? " connection" : " connections");
}

std::string to_line(const Rehearsal::Group& group) {
  return group.word + ", route " + group.route + ", " + group.identity + ": " +
         counted(group.connections);
}

}  // namespace

std::uint64_t Rehearsal::ending() const {
  std::uint64_t sum = 0;
  for (const Group& group : ends) sum += group.connections;
  return sum;
}

Rehearsal rehearse(const Snapshot& next, const Inventory& running, const LiveCauses& keep,
                   std::chrono::sys_seconds now) {
  for (const KnownIssuer& each : running.issuers) next.learn_issuer(each);
  Rehearsal rehearsal;
  Counts ends;
  Counts kept;
  Counts refused;
  for (const InventoryPeer& peer : running.peers) {
    rehearsal.connections += peer.connections;
    const Route* const route = next.policy->find(peer.route);
    const auto& credentials = next.credentials_of(route, peer.trust);
    const Verdict verdict = judge(peer.trust, route, *credentials, now);
    const std::string identity = peer.trust.identity.display();
    const LiveCauses causes = verdict.causes();
    if (const auto cause = first_of(causes & ~keep)) {
      ends[{static_cast<std::size_t>(*cause), peer.route, identity}] += peer.connections;
    } else if (const auto excused = first_of(causes)) {
      kept[{static_cast<std::size_t>(*excused), peer.route, identity}] += peer.connections;
    } else if (verdict.result() != HandshakeResult::kSuccess) {
      refused[{static_cast<std::size_t>(verdict.result()), peer.route, identity}] +=
          peer.connections;
    }
  }
  const auto cause_word = [](std::size_t i) { return kLiveCauseWords.at(i); };
  rehearsal.ends = groups(ends, cause_word);
  rehearsal.kept = groups(kept, cause_word);
  rehearsal.refused_anew =
      groups(refused, [](std::size_t i) { return ktls::kHandshakeResultWords.at(i); });
  return rehearsal;
}

int check_against(const Options& options, const Config& config) {
  const std::string& where = options.against->text;
  const auto inventory = fetch_inventory(*options.against, versions().sallyport);
  if (!inventory)
    return report_configuration_error("--against " + where + ": " + inventory.error());

  const Snapshot next{.generation = 0,
                      .credentials = config.credentials(),
                      .named = config.named_credentials(),
                      .policy = config.policy(),
                      .endpoints = nullptr};
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  const Rehearsal rehearsal = rehearse(next, *inventory, options.keep_live, now);
  for (const auto& group : rehearsal.refused_anew) {
    std::fprintf(stderr, "sallyport: warning: stays, but a new handshake would be refused: %s\n",
                 terminal_text(to_line(group)).c_str());
  }
  for (const auto& group : rehearsal.kept)
    std::printf("would be kept: %s\n", terminal_text(to_line(group)).c_str());
  for (const auto& group : rehearsal.ends)
    std::printf("would end: %s\n", terminal_text(to_line(group)).c_str());
  const std::uint64_t ending = rehearsal.ending();
  std::printf("of %s of %s %s would end\n", counted(rehearsal.connections).c_str(), where.c_str(),
              ending == 0 ? "none" : std::to_string(ending).c_str());
  return ending == 0 ? kExitDrained : kExitSomeEnd;
}

}  // namespace sallyport::gateway
