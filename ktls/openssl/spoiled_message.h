#pragma once

namespace sallyport::ktls {

/// Makes OpenSSL refuse the Certificate message that it shows to a message callback
/// (SSL_CTX_set_msg_callback(3)), before it decodes anything of it: changes the first byte behind
/// its header, the size of context or list, in OpenSSL's buffer. The API has no way to refuse a
/// message there, and later ways come when all certificates were decoded.
///
/// With --openssl-tuning off, too: it protects every thread that decodes certificates. That OpenSSL
/// hands out the buffer that it goes on with is tested with each version (HostileCertificates.*).
void spoil_certificate_message(const void* message) noexcept;

}  // namespace sallyport::ktls
