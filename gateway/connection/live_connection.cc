#include "gateway/connection/live_connection.h"

#include <algorithm>
#include <utility>

#include "ktls/base/hex.h"

namespace sallyport::gateway {
namespace {

using Clock = std::chrono::steady_clock;

// A connection that is younger does not suffer from handshakes: it is one.
constexpr std::chrono::seconds kEstablished{1};

}  // namespace

LiveConnection::LiveConnection(ShardState& shard, ServedListener& listener,
                               iouring::CancelScope& scope, iouring::PeerAddress client)
    : shard_(shard),
      listener_(listener),
      scope_(scope),
      id_(shard.next_id++),
      accepted_at_(shard.ring.now()),
      open_(listener.cells, CloseReason::kInternalError),
      client_(client) {
  shard_.live.push_back(*this);
  ++shard_.live_count;
}

LiveConnection::~LiveConnection() {
  for (LiveWalk* walk = shard_.walks.empty() ? nullptr : &shard_.walks.front(); walk != nullptr;
       walk = shard_.walks.next(*walk)) {
    if (walk->next_ == this) walk->next_ = shard_.live.next(*this);
  }
  unlink();
  --shard_.live_count;
  shard_.recheck.ends.remove(*this);
  if (const auto cause = kept()) shard_.metrics.kept_no_more(*cause);
  if (in_use_) RoutePlace::leave(*backend()->route_life);
  settle_warm(true);
  open_.ends_with(reason_);  // before the line, so that its reader finds it counted
  shard_.connection_log.write(facts());
  if (proxied_) shard_.proxied.erase(id_);
  if (is_egress()) shard_.local_users.erase(id_);
}

void LiveConnection::end(CloseReason reason) noexcept {
  if (!ended_by_) ended_by_ = reason;
  scope_.cancel();
}

void LiveConnection::renew_grant(std::shared_ptr<const Route> route, Rule rule) noexcept {
  grant_.route = std::move(route);
  grant_.rule = rule;
}

void LiveConnection::set_kept(std::optional<LiveCause> cause) {
  if (cause == kept()) return;
  if (const auto before = kept()) shard_.metrics.kept_no_more(*before);
  if (cause) shard_.metrics.kept(*cause);
  kept_ = cause ? static_cast<std::uint8_t>(*cause) : kNotKept;
}

std::chrono::milliseconds LiveConnection::age() const noexcept {
  return std::chrono::duration_cast<std::chrono::milliseconds>(shard_.ring.now() - accepted_at_);
}

// Numbers follow each other, so they are mixed (a round of splitmix64).
double LiveConnection::chance() const noexcept {
  std::uint64_t mixed = id_ + 0x9e3779b97f4a7c15U;
  mixed = (mixed ^ (mixed >> 30U)) * 0xbf58476d1ce4e5b9U;
  mixed = (mixed ^ (mixed >> 27U)) * 0x94d049bb133111ebU;
  mixed ^= mixed >> 31U;
  constexpr double kStep = 1.0 / (std::uint64_t{1} << 53U);
  return static_cast<double>(mixed >> 11U) * kStep;
}

void LiveConnection::set_proxied(const ProxiedAddresses& addresses) {
  proxied_ = true;
  shard_.proxied[id_] = {.proxy = client_,
                         .destination = iouring::PeerAddress(addresses.destination)};
  client_ = iouring::PeerAddress(addresses.source);
}

iouring::SocketAddress LiveConnection::proxied_destination() const {
  return proxied_ ? shard_.proxied.at(id_).destination.expand() : iouring::SocketAddress();
}

void LiveConnection::set_local(std::shared_ptr<const Route> route, std::optional<LocalUser> user) {
  grant_.route = std::move(route);
  open_.routed(grant_.route->name);
  negotiated_ = shard_.negotiated.intern(Negotiated{});
  if (user) shard_.local_users[id_] = *user;
}

const ktls::PeerTrust& LiveConnection::nobody() noexcept {
  using namespace std::chrono_literals;
  static const ktls::PeerTrust nobody{
      .identity = {}, .links = {}, .not_after = std::chrono::sys_days{9999y / 12 / 31}};
  return nobody;
}

void LiveConnection::start_handshake() {
  // Not make_unique: an aggregate whose first member does not move.
  undecided_.reset(new Undecided{
      .counted = metrics::StartedHandshake(listener_.cells, ktls::HandshakeResult::kUnknownFailure),
      .first_byte_at = Clock::now(),
      .negotiated = {}});
}

void LiveConnection::set_sni(std::string_view sni) {
  undecided_->negotiated.sni = sni;
}

void LiveConnection::set_route(std::shared_ptr<const Route> route, std::string_view alpn) {
  undecided_->negotiated.alpn = alpn;
  grant_.route = std::move(route);
  open_.routed(grant_.route->name);
}

void LiveConnection::set_peer(const ktls::Outcome& outcome) {
  handshake_took_ =
      std::chrono::duration_cast<Microseconds>(Clock::now() - undecided_->first_byte_at);
  grant_.peer = PeerTable::Handle(outcome.trust);
  resumed_ = outcome.resumed;
  Negotiated& negotiated = undecided_->negotiated;
  negotiated.version = outcome.version;
  negotiated.cipher = outcome.cipher;
  negotiated.group = outcome.group;
}

void LiveConnection::mark_established(Rule rule) {
  grant_.rule = rule;
  grant_.peer = shard_.peers.enter(grant_.peer.trust(), grant_.route->name, listener_.text);
  decide(ktls::HandshakeResult::kSuccess);
  shard_.metrics.negotiated(negotiated_->version, negotiated_->group, negotiated_->cipher);
}

void LiveConnection::set_refused(RefusalPtr refusal) {
  set_reason(refusal->reason);
  decide(handshake_result(refusal->reason));
  refusal_ = std::move(refusal);
}

void LiveConnection::decide(ktls::HandshakeResult result) {
  if (!undecided_) return;
  if (handshake_took_.count() == 0) {
    handshake_took_ =
        std::chrono::duration_cast<Microseconds>(Clock::now() - undecided_->first_byte_at);
  }
  undecided_->counted.ends_with(result, resumed_, handshake_took_);
  negotiated_ = shard_.negotiated.intern(std::move(undecided_->negotiated));
  undecided_.reset();
}

const Negotiated* LiveConnection::negotiated() const noexcept {
  return undecided_ ? &undecided_->negotiated : negotiated_.get();
}

void LiveConnection::count_failovers(unsigned times) noexcept {
  open_.route().backend_failed_over(times);
}

void LiveConnection::set_backend(InUse in_use, RoutePlace of_route, std::chrono::nanoseconds took,
                                 const iouring::SocketAddress& local) {
  local_host_ = shard_.local_hosts.number(local);
  local_port_ = local.port();
  in_use_ = std::move(in_use);
  of_route.hand_over();
  connect_took_ = std::chrono::duration_cast<Microseconds>(took);
  open_.route().backend_connected(took);
}

void LiveConnection::set_backend_peer(std::shared_ptr<const ktls::PeerTrust> peer, bool resumed) {
  backend_peer_ = std::make_unique<const BackendPeer>(std::move(peer), resumed);
}

void LiveConnection::set_warm(bool got_one) noexcept {
  began_warm_ = warm_open_ = got_one;
  if (!got_one) open_.route().warm_taken(false);
}

void LiveConnection::settle_warm(bool hit) noexcept {
  if (!warm_open_) return;
  warm_open_ = false;
  open_.route().warm_taken(hit);
}

void LiveConnection::count_received(metrics::Leg leg, std::size_t bytes) noexcept {
  const auto now = shard_.ring.now();
  if (now - accepted_at_ > kEstablished) shard_.relayed_at = std::max(shard_.relayed_at, now);
  open_.route().received(leg, bytes);
  heard_ = heard_ | (leg == metrics::Leg::kClient ? 1U : 2U);
  if (leg == metrics::Leg::kClient) {
    received_bytes_ += bytes;
  } else {
    if (sent_bytes_ == 0 && in_use_) backend()->life->answered();
    settle_warm(true);
  }
}

void LiveConnection::count_sent(metrics::Leg leg, std::size_t bytes) noexcept {
  open_.route().sent(leg, bytes);
  if (leg == metrics::Leg::kClient) sent_bytes_ += bytes;
}

LiveWalk::LiveWalk(ShardState& shard)
    : shard_(shard), next_(shard.live.empty() ? nullptr : &shard.live.front()) {
  shard_.walks.push_back(*this);
}

LiveConnection* LiveWalk::next() noexcept {
  LiveConnection* const here = next_;
  if (here != nullptr) next_ = shard_.live.next(*here);
  return here;
}

ConnectionFacts LiveConnection::facts() const {
  ConnectionFacts facts;
  facts.time = std::chrono::system_clock::now();
  facts.duration = Clock::now() - accepted_at_;
  facts.id = ktls::encode_hex(id_);
  facts.listener = listener_.text;
  facts.client = client_.expand().to_string();
  facts.egress = is_egress();
  if (facts.egress) facts.identity = "-";
  if (const auto user = shard_.local_users.find(id_); user != shard_.local_users.end())
    facts.local_user = user->second.to_string();
  if (proxied_) facts.proxy = shard_.proxied.at(id_).proxy.expand().to_string();
  if (grant_.peer) {
    facts.identity = grant_.peer->identity.display();
    facts.resumed = resumed_;
  }
  if (const Negotiated* const agreed = negotiated()) {
    facts.sni = agreed->sni;
    facts.alpn = agreed->alpn;
    facts.tls = agreed->version;
    facts.cipher = agreed->cipher;
    facts.group = agreed->group;
  }
  if (grant_.route) facts.route = grant_.route->name;
  if (in_use_) {
    facts.backend = backend()->target;
    facts.backend_address = backend()->address.to_string();
    facts.connect = connect_took_;
  }
  if (backend_peer_) {
    facts.backend_identity = backend_peer_->trust->identity.display();
    facts.backend_resumed = backend_peer_->resumed;
  }
  if (local_host_ != LocalHosts::kNone) {
    facts.local_address = shard_.local_hosts.address(local_host_, local_port_).to_string();
  }
  if (records_) facts.records = to_string(*records_);
  facts.received_bytes = received_bytes_;
  facts.sent_bytes = sent_bytes_;
  if (handshake_took_.count() > 0) facts.handshake = handshake_took_;
  facts.reason = reason_;
  if (const auto cause = kept()) facts.kept = to_string(*cause);
  if (refusal_) {
    const ktls::HandshakeFailure& failure = refusal_->failure;
    facts.refused = true;
    facts.detail = failure.detail;
    facts.alpn_offered = refusal_->alpn_offered;
    facts.steps = failure.steps;
    facts.presented = failure.presented;
    if (!facts.presented && grant_.peer) {
      facts.presented = std::make_shared<const ktls::PresentedCertificate>(presented(*grant_.peer));
    }
    if (failure.not_after) {
      facts.issuer = failure.issuer;
      facts.serial = failure.serial;
      facts.not_after = failure.not_after;
    } else if (facts.presented) {
      facts.issuer = facts.presented->issuer;
      facts.serial = facts.presented->serial;
      facts.not_after = facts.presented->not_after;
    }
  }
  return facts;
}

ConnectionFacts LiveConnection::live_facts() const {
  ConnectionFacts live = facts();
  if (!grant_.peer) return live;
  ktls::PresentedCertificate certificate = presented(*grant_.peer);
  live.issuer = std::move(certificate.issuer);
  live.serial = std::move(certificate.serial);
  live.not_after = certificate.not_after;
  return live;
}

}  // namespace sallyport::gateway
