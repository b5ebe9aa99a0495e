#include "bench/load/openssl_client.h"

#include <openssl/ssl.h>

#include <array>

#include "bench/load/issuer.h"
#include "bench/load/openssl_stream.h"

namespace sallyport::bench {
namespace {

struct OpensslTicket : Ticket {
  explicit OpensslTicket(SSL_SESSION* taken) : session(taken) {}
  Owned<SSL_SESSION> session;
};

// There the groups are also the curves of certificates.
void restrict_to_tls12(SSL_CTX* context, const Options& options) {
  const std::string groups = options.groups + ":P-256";
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
  require_openssl(SSL_CTX_set_cipher_list(context, "ECDHE-ECDSA-AES256-GCM-SHA384") == 1,
                  "cipher list");
  require_openssl(SSL_CTX_set1_groups_list(context, groups.c_str()) == 1, groups);
}

class OpensslClient final : public Client {
 public:
  explicit OpensslClient(const Options& options)
      : context_(SSL_CTX_new(TLS_client_method())), sni_(options.sni) {
    SSL_CTX* const context = context_.get();
    require_openssl(context != nullptr, "SSL_CTX_new");
    if (options.tls12) {
      restrict_to_tls12(context, options);
    } else {
      SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
      require_openssl(SSL_CTX_set_ciphersuites(context, options.ciphersuites.c_str()) == 1,
                      options.ciphersuites);
      require_openssl(SSL_CTX_set1_groups_list(context, options.groups.c_str()) == 1,
                      options.groups);
    }
    if (!options.issuer.empty()) {
      issuer_ = std::make_unique<Issuer>(options.issuer, options.issuer_key);
    } else if (!options.certificate.empty()) {
      require_openssl(SSL_CTX_use_certificate_chain_file(context, options.certificate.c_str()) == 1,
                      options.certificate);
      require_openssl(
          SSL_CTX_use_PrivateKey_file(context, options.key.c_str(), SSL_FILETYPE_PEM) == 1,
          options.key);
    }
    if (!options.ca.empty()) {
      require_openssl(SSL_CTX_load_verify_locations(context, options.ca.c_str(), nullptr) == 1,
                      options.ca);
      SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    }
    set_for_streams(context);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, keep_ticket);
  }

  std::unique_ptr<Stream> stream(int descriptor, TicketSlot* tickets) override {
    SSL* const ssl = SSL_new(context_.get());
    require_openssl(ssl != nullptr && SSL_set_fd(ssl, descriptor) == 1, "SSL_new");
    if (issuer_) issuer_->give_next(ssl);
    if (!sni_.empty()) SSL_set_tlsext_host_name(ssl, sni_.c_str());
    SSL_set_app_data(ssl, reinterpret_cast<char*>(tickets));
    if (tickets != nullptr && *tickets) {
      SSL_set_session(ssl, static_cast<const OpensslTicket&>(**tickets).session.get());
    }
    SSL_set_connect_state(ssl);
    return openssl_stream(ssl, buffer_);
  }

 private:
  static int keep_ticket(SSL* ssl, SSL_SESSION* session) {
    auto* const tickets = reinterpret_cast<TicketSlot*>(SSL_get_app_data(ssl));
    if (tickets == nullptr) return 0;
    *tickets = std::make_shared<OpensslTicket>(session);
    return 1;  // the session is ours now
  }

  Owned<SSL_CTX> context_;
  std::unique_ptr<Issuer> issuer_;  // null: one certificate for all
  std::string sni_;
  std::array<std::byte, 64 << 10> buffer_;
};

}  // namespace

std::unique_ptr<Client> openssl_client(const Options& options) {
  return std::make_unique<OpensslClient>(options);
}

}  // namespace sallyport::bench
