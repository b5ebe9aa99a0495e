#include "gateway/connection/proxy_opening.h"

#include <sys/socket.h>

#include <cerrno>

#include "gateway/backends/proxy_header.h"
#include "gateway/connection/proxy_header_count.h"
#include "ktls/trust/x509_facts.h"

namespace sallyport::gateway {

std::expected<std::vector<std::byte>, std::string> make_proxy_header(
    Client& client, std::span<const std::byte> certificate) {
  const LiveConnection& connection = client.connection;
  const ConnectionFacts facts = connection.facts();
  const std::string common_name = ktls::common_name(connection.peer().leaf.subject);
  iouring::SocketAddress destination = connection.proxied_destination();
  if (facts.proxy.empty())
    destination = client.records->socket().local_address().value_or(destination);
  auto header =
      encode_proxy_header(*connection.route().proxy, {.source = connection.client().expand(),
                                                      .destination = destination,
                                                      .local = connection.is_egress(),
                                                      .unique_id = facts.id,
                                                      .authority = facts.sni,
                                                      .alpn = facts.alpn,
                                                      .tls_version = facts.tls,
                                                      .cipher = facts.cipher,
                                                      .common_name = common_name,
                                                      .identity = facts.identity,
                                                      .certificate = certificate,
                                                      .resumed = facts.resumed.value_or(false)});
  if (!header) connection.shard().metrics.proxy_header(ProxyHeaderCount::kNotMade);
  return header;
}

iouring::Result<> send_proxy_header(ShardState& shard, const iouring::Socket& backend,
                                    std::span<const std::byte> header, bool more) {
  const int flags = MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0);
  const ssize_t sent = ::send(backend.descriptor(), header.data(), header.size(), flags);
  const int error = sent < 0 ? errno : EAGAIN;
  const bool whole = sent == static_cast<ssize_t>(header.size());
  shard.metrics.proxy_header(whole ? ProxyHeaderCount::kSent : ProxyHeaderCount::kNotSent);
  if (whole) return {};
  return iouring::failure(error);
}

}  // namespace sallyport::gateway
