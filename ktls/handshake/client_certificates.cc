// The certificates of a client without its handshake.
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <new>
#include <string>
#include <utility>

#include "ktls/base/wire.h"
#include "ktls/handshake/server_context.h"
#include "ktls/records/record.h"
#include "ktls/trust/certificate_message.h"
#include "ktls/trust/verify_chain.h"
#include "ktls/trust/verify_error.h"
#include "ktls/trust/verify_settings.h"

namespace sallyport::ktls {
namespace {

using Certificates = std::span<const std::vector<std::byte>>;

void write_u24(WireWriter& out, std::size_t value) {
  out.u8(static_cast<std::uint8_t>(value >> 16));
  out.u16(value & 0xffff);
}

// RFC 8446 4.4.2: an empty context, and no extension of any certificate.
std::vector<std::byte> certificate_message(Certificates certificates) {
  constexpr std::size_t kSizes = 3 + 2;  // of a certificate and of its extensions
  std::size_t list = 0;
  for (const auto& each : certificates) list += kSizes + each.size();
  WireWriter out;
  out.u8(SSL3_MT_CERTIFICATE);
  write_u24(out, 1 + 3 + list);
  out.u8(0);
  write_u24(out, list);
  for (const auto& each : certificates) {
    write_u24(out, each.size());
    out.raw(each);
    out.u16(0);
  }
  return std::move(out).take();
}

std::unexpected<RefusedCertificates> refuse(HandshakeResult result, std::string detail,
                                            AlertDescription alert) {
  return std::unexpected(RefusedCertificates{
      .failure = {.result = result, .detail = std::move(detail)}, .alert = alert});
}

// As OpenSSL and refuse_certificates() look at the message, before anything of it is decoded.
std::expected<void, RefusedCertificates> check_message(Certificates certificates) {
  const std::vector<std::byte> message = certificate_message(certificates);
  if (message.size() - kHandshakeHeaderSize > kMaxCertificateMessage)
    return refuse(HandshakeResult::kUnexpectedMessage,
                  "certificates of more than " + std::to_string(kMaxCertificateMessage) + " bytes",
                  AlertDescription::kIllegalParameter);
  if (auto why = refuse_certificates(message, RecordVersion::kTls13))
    return refuse(HandshakeResult::kCertificateVerificationFailed, *std::move(why),
                  AlertDescription::kDecodeError);
  return {};
}

// Null: it cannot be decoded, or has bytes behind its end.
X509Ptr decode(const std::vector<std::byte>& der, OSSL_LIB_CTX* library) {
  X509* made = X509_new_ex(library, nullptr);
  if (made == nullptr) throw std::bad_alloc();
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  const auto* const end = at + der.size();
  X509Ptr certificate(d2i_X509(&made, &at, static_cast<long>(der.size())));  // frees it otherwise
  if (certificate && at != end) certificate.reset();
  return certificate;
}

std::expected<X509StackPtr, RefusedCertificates> decode_all(Certificates certificates,
                                                            OSSL_LIB_CTX* library) {
  X509StackPtr stack(sk_X509_new_null());
  if (!stack) throw std::bad_alloc();
  for (const auto& each : certificates) {
    X509Ptr certificate = decode(each, library);
    if (!certificate)
      return refuse(HandshakeResult::kCertificateVerificationFailed,
                    "a certificate cannot be decoded: " + OpensslError::drain("bad length").text,
                    AlertDescription::kDecodeError);
    if (X509_add_cert(stack.get(), certificate.get(), X509_ADD_FLAG_UP_REF) != 1)
      throw std::bad_alloc();
  }
  return stack;
}

}  // namespace

std::expected<std::shared_ptr<const PeerTrust>, RefusedCertificates> ServerContext::verify_client(
    std::span<const std::vector<std::byte>> certificates) const {
  if (auto checked = check_message(certificates); !checked)
    return std::unexpected(std::move(checked.error()));
  OSSL_LIB_CTX* const where = library_;
  const auto stack = decode_all(certificates, where);
  if (!stack) return std::unexpected(stack.error());

  // As OpenSSL prepares it for the callback: ssl_verify_cert_chain().
  const OpensslPtr<X509_STORE_CTX, X509_STORE_CTX_free> store(
      X509_STORE_CTX_new_ex(where, nullptr));
  if (!store || X509_STORE_CTX_init(store.get(), SSL_CTX_get_cert_store(ctx_.get()),
                                    sk_X509_value(stack->get(), 0), stack->get()) != 1)
    throw std::bad_alloc();
  X509_VERIFY_PARAM* const parameters = X509_STORE_CTX_get0_param(store.get());
  X509_VERIFY_PARAM_set_auth_level(parameters, kSecurityLevel);
  if (X509_STORE_CTX_set_default(store.get(), "ssl_client") != 1 ||
      X509_VERIFY_PARAM_set1(parameters, SSL_CTX_get0_param(ctx_.get())) != 1)
    throw std::bad_alloc();

  ChainCache cache;
  auto verified = verify_chain(store.get(), *credentials_, cache, now(), Role::kClient);
  if (verified) return *std::move(verified);
  const AlertDescription alert =
      alert_for(verified.error().result)
          .value_or(alert_of_verify_error(X509_STORE_CTX_get_error(store.get())));
  return std::unexpected(
      RefusedCertificates{.failure = std::move(verified.error()), .alert = alert});
}

}  // namespace sallyport::ktls
