#include "ktls/records/kernel_hand_off.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "ktls/records/kernel_records.h"
#include "ktls/records/kernel_tls_options.h"
#include "ktls/records/tcp_stream.h"
#include "ktls/records/typed_record.h"

namespace sallyport::ktls {
namespace {

std::unexpected<KernelRefusal> refusal(KtlsFallback reason, int error = 0) noexcept {
  return std::unexpected(KernelRefusal{.reason = reason, .sys_errno = error});
}

bool is_tcp(int descriptor) noexcept {
  int protocol = 0;
  socklen_t size = sizeof protocol;
  return ::getsockopt(descriptor, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) == 0 &&
         protocol == IPPROTO_TCP;
}

CryptoInfo crypto_info(const SessionState& state, const DirectionState& direction) noexcept {
  return {state.version, state.suite, direction.key(state.suite, state.version), direction.rec_seq};
}

/// 0 or an errno, which does the connection no harm.
int install_tx(int descriptor, const SessionState& state) noexcept {
  if (const int error = attach_kernel_tls(descriptor)) return error;
  return set_kernel_key(descriptor, TLS_TX, crypto_info(state, state.tx));
}

/// 0 or an errno, with which the connection is lost.
int install_rx(int descriptor, const SessionState& state, const KernelTls& kernel) noexcept {
  if (const int error = set_kernel_key(descriptor, TLS_RX, crypto_info(state, state.rx))) {
    return error;
  }
  if (kernel.can_expect_no_pad() && state.version == RecordVersion::kTls13) {
    expect_no_pad(descriptor);  // saves a copy and nothing else
  }
  return 0;
}

/// Tells the peer that the connection is lost, if the socket has room.
void send_internal_error(int descriptor) noexcept {
  const std::byte alert[] = {static_cast<std::byte>(AlertLevel::kFatal),
                             static_cast<std::byte>(AlertDescription::kInternalError)};
  const TypedRecord record(ContentType::kAlert, alert);
  ::sendmsg(descriptor, &record.message(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

}  // namespace

std::expected<std::unique_ptr<RecordLayer>, KernelRefusal> hand_to_kernel(
    std::unique_ptr<RecordLayer>& userspace, const KernelTls& kernel, RecordPools& pools,
    Role role) {
  const int descriptor = userspace->socket().descriptor();
  const std::optional<SessionState> state = userspace->export_state();
  if (!state || userspace->rx_model() != RecordModel::kUserspace ||
      userspace->tx_model() != RecordModel::kUserspace || descriptor < 0 || !is_tcp(descriptor)) {
    return refusal(KtlsFallback::kSocketUnsuitable);
  }
  if (const auto reason = kernel.refuses(state->version, state->suite)) {
    return refusal(*reason);
  }
  const std::span<const std::byte> ahead = userspace->unopened();
  if (!userspace->at_rest() || ahead.size() > pools.blocks.block_bytes()) {
    return refusal(KtlsFallback::kUnsettled);
  }
  const auto stream_start = bytes_given_to_tcp(descriptor);
  if (!stream_start) return refusal(KtlsFallback::kSocketUnsuitable, ENOTCONN);

  // All memory is taken before the kernel gets a key: nothing may throw behind that.
  auto leftover = ahead.empty() ? nullptr : std::make_unique<LeftoverRecords>(pools, *state, ahead);
  const bool rx_at_once = leftover == nullptr;
  auto layer = kernel_records(std::move(userspace->socket()), *state, kernel, pools, role,
                              {.counters = userspace->counters(),
                               .stream_start = *stream_start,
                               .leftover = std::move(leftover)});
  // TX first: as long as the kernel has no key the socket is an ordinary one, with or without ULP.
  if (const int error = install_tx(descriptor, *state)) {
    userspace->socket() = std::move(layer->socket());
    return refusal(KtlsFallback::kKeyRefused, error);
  }
  layer->collect_tickets(userspace->release_tickets());
  userspace.reset();
  if (const int error = rx_at_once ? install_rx(descriptor, *state, kernel) : 0) {
    send_internal_error(descriptor);
    return std::unexpected(KernelRefusal{
        .reason = KtlsFallback::kKeyRefused, .sys_errno = error, .connection_lost = true});
  }
  return layer;
}

}  // namespace sallyport::ktls
