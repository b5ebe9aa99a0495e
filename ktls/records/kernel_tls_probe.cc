#include "ktls/records/kernel_tls_probe.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>

#include "iouring/file_descriptor.h"
#include "iouring/result.h"
#include "ktls/records/kernel_tls_options.h"
#include "ktls/records/typed_record.h"

namespace sallyport::ktls {
namespace {

using iouring::FileDescriptor;

constexpr std::array kVersions = {RecordVersion::kTls12, RecordVersion::kTls13};

std::size_t index_of(CipherSuite suite) noexcept {
  return static_cast<std::size_t>(std::ranges::find(kCipherSuites, suite) - kCipherSuites.begin());
}
std::size_t index_of(RecordVersion version) noexcept {
  return static_cast<std::size_t>(version);
}

/// Two ends of a TCP connection over loopback, in either family.
struct Connection {
  FileDescriptor left;
  FileDescriptor right;

  static std::optional<Connection> open(sa_family_t family) {
    sockaddr_storage address{};
    address.ss_family = family;
    socklen_t size = sizeof(sockaddr_in6);
    if (family == AF_INET) {
      reinterpret_cast<sockaddr_in&>(address).sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      size = sizeof(sockaddr_in);
    } else {
      reinterpret_cast<sockaddr_in6&>(address).sin6_addr = in6addr_loopback;
    }
    auto* const plain = reinterpret_cast<sockaddr*>(&address);
    const FileDescriptor listening(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    FileDescriptor left(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!listening || !left || ::bind(listening.get(), plain, size) != 0 ||
        ::listen(listening.get(), 1) != 0 || ::getsockname(listening.get(), plain, &size) != 0 ||
        ::connect(left.get(), plain, size) != 0) {
      return std::nullopt;
    }
    FileDescriptor right(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!right) return std::nullopt;
    return Connection{std::move(left), std::move(right)};
  }
  static std::optional<Connection> open() {
    if (auto connection = open(AF_INET)) return connection;
    return open(AF_INET6);
  }
};

int set_ulp(const FileDescriptor& socket) {
  return attach_kernel_tls(socket.get());
}

/// A key that protects nothing but the probe; another `generation` makes it another one.
int set_key(const FileDescriptor& socket, int direction, RecordVersion version, CipherSuite suite,
            unsigned char generation = 1) {
  RecordKey key;
  key.key.fill(std::byte{generation});
  key.iv.fill(std::byte{generation});
  return set_kernel_key(socket.get(), direction, CryptoInfo(version, suite, key, 0));
}

/// Waits for bytes on a connection within this machine, where they arrive at once or never.
bool readable(const FileDescriptor& socket, int milliseconds) {
  pollfd entry{socket.get(), POLLIN, 0};
  return ::poll(&entry, 1, milliseconds) == 1 && (entry.revents & POLLIN) != 0;
}

constexpr char kWord[] = "sallyport";
constexpr int kMaxWait = 2000;  // milliseconds, for a machine that is busy

bool arrives(const FileDescriptor& from, const FileDescriptor& to) {
  char heard[sizeof kWord] = {};
  return ::send(from.get(), kWord, sizeof kWord, MSG_NOSIGNAL) == sizeof kWord &&
         readable(to, kMaxWait) &&
         ::recv(to.get(), heard, sizeof heard, MSG_DONTWAIT) == sizeof heard &&
         std::memcmp(heard, kWord, sizeof kWord) == 0;
}

/// Both directions of one suite, with a word sent across. 0 or an errno.
int try_suite(RecordVersion version, CipherSuite suite) {
  const auto connection = Connection::open();
  if (!connection) return ENOTCONN;
  for (const FileDescriptor* end : {&connection->left, &connection->right}) {
    if (const int error = set_ulp(*end)) return error;
    if (const int error = set_key(*end, TLS_TX, version, suite)) return error;
    if (const int error = set_key(*end, TLS_RX, version, suite)) return error;
  }
  return arrives(connection->left, connection->right) ? 0 : EBADMSG;
}

/// A connection whose left end sends under kernel TLS and whose right end has only the ULP.
std::optional<Connection> sending_only(CipherSuite suite) {
  auto connection = Connection::open();
  if (!connection || set_ulp(connection->left) != 0 || set_ulp(connection->right) != 0 ||
      set_key(connection->left, TLS_TX, RecordVersion::kTls13, suite) != 0) {
    return std::nullopt;
  }
  return connection;
}

bool try_rekey(CipherSuite suite) {
  const auto connection = sending_only(suite);
  if (!connection || set_key(connection->right, TLS_RX, RecordVersion::kTls13, suite) != 0) {
    return false;
  }
  // Never the same key twice: the kernel would take it, and use its nonces again.
  return set_key(connection->left, TLS_TX, RecordVersion::kTls13, suite, 2) == 0 &&
         set_key(connection->right, TLS_RX, RecordVersion::kTls13, suite, 2) == 0 &&
         arrives(connection->left, connection->right);
}

bool set_cork(const FileDescriptor& socket, int value) {
  return ::setsockopt(socket.get(), IPPROTO_TCP, TCP_CORK, &value, sizeof value) == 0;
}

/// Whether records with padding come out right with TLS_RX_EXPECT_NO_PAD, not only whether it can
/// be set. Such a record is decrypted into the receiver's buffer, and then once more because it has
/// padding; kernels that do not go back to the start (6.1.y, 6.12.95; 7.3 does) put the second
/// copy, and every record behind it, behind the first: recv(2) then returns padding and lacks data.
bool try_no_pad(CipherSuite suite) {
  const auto connection = sending_only(suite);
  if (!connection || set_key(connection->right, TLS_RX, RecordVersion::kTls13, suite) != 0 ||
      expect_no_pad(connection->right.get()) != 0) {
    return false;
  }
  // Inner type 0 is the last byte of the padding. Corked, the two records arrive at once.
  std::byte padded[sizeof kWord + 10] = {};
  std::memcpy(padded, kWord, sizeof kWord);
  padded[sizeof kWord] = static_cast<std::byte>(ContentType::kApplicationData);
  const TypedRecord record(ContentType::kInvalid, padded);
  const int left = connection->left.get();
  if (!set_cork(connection->left, 1) ||
      ::sendmsg(left, &record.message(), MSG_NOSIGNAL) != sizeof padded ||
      ::send(left, kWord, sizeof kWord, MSG_NOSIGNAL) != sizeof kWord ||
      !set_cork(connection->left, 0) || !readable(connection->right, kMaxWait)) {
    return false;
  }
  char heard[200] = {};
  const int right = connection->right.get();
  return ::recv(right, heard, sizeof heard, MSG_DONTWAIT) == 2 * sizeof kWord &&
         std::memcmp(heard, kWord, sizeof kWord) == 0 &&
         std::memcmp(heard + sizeof kWord, kWord, sizeof kWord) == 0;
}

/// Sends the first bytes of a record and looks whether poll(2) reports them.
bool try_partial_record(CipherSuite suite) {
  const auto sealing = sending_only(suite);
  const auto opening = Connection::open();
  if (!sealing || !opening || set_ulp(opening->right) != 0 ||
      set_key(opening->right, TLS_RX, RecordVersion::kTls13, suite) != 0) {
    return true;  // the safe answer
  }
  // The right end of `sealing` has no key: it reads the record as it is on the wire.
  char record[64];
  if (::send(sealing->left.get(), kWord, sizeof kWord, MSG_NOSIGNAL) != sizeof kWord ||
      !readable(sealing->right, kMaxWait)) {
    return true;
  }
  const ssize_t size = ::recv(sealing->right.get(), record, sizeof record, 0);
  constexpr ssize_t kPart = 20;
  if (size <= kPart || ::send(opening->left.get(), record, kPart, MSG_NOSIGNAL) != kPart) {
    return true;
  }
  // Loopback delivers before send() returns, or soon after.
  return readable(opening->right, 10);
}

std::string list_of(const std::array<int, kCipherSuites.size()>& errors, bool working) {
  std::string text;
  for (std::size_t i = 0; i < errors.size(); ++i) {
    if ((errors[i] == 0) != working) continue;
    text += text.empty() ? "" : ", ";
    text += aead_name(kCipherSuites[i]);
    if (errors[i] != 0) text += std::string(" (") + iouring::errno_name(errors[i]) + ")";
  }
  return text;
}

}  // namespace

std::string_view to_string(KtlsFallback reason) noexcept {
  return kKtlsFallbackWords[static_cast<std::size_t>(reason)];
}

KernelTls KernelTls::probe() {
  KernelTls found;
  const auto connection = Connection::open();
  if (!connection) {
    found.reason_ = KtlsFallback::kProbeFailed;
    found.error_ = errno;
    return found;
  }
  if (const int error = set_ulp(connection->left)) {
    found.reason_ = error == ENOENT ? KtlsFallback::kModuleAbsent : KtlsFallback::kForbidden;
    found.error_ = error;
    return found;
  }
  found.present_ = true;
  for (const RecordVersion version : kVersions) {
    for (const CipherSuite suite : kCipherSuites) {
      found.errors_[index_of(version)][index_of(suite)] = try_suite(version, suite);
    }
  }
  for (const CipherSuite suite : kCipherSuites) {
    if (found.refuses(RecordVersion::kTls13, suite)) continue;
    found.rekey_ = try_rekey(suite);
    found.expect_no_pad_ = try_no_pad(suite);
    found.polls_partial_records_ = try_partial_record(suite);
    break;
  }
  return found;
}

std::optional<KtlsFallback> KernelTls::refuses(RecordVersion version,
                                               CipherSuite suite) const noexcept {
  if (!present_) return reason_;
  const auto& errors = errors_[index_of(version)];
  if (errors[index_of(suite)] == 0) return std::nullopt;
  const bool none = std::ranges::none_of(errors, [](int error) { return error == 0; });
  return none ? KtlsFallback::kVersionUnsupported : KtlsFallback::kSuiteUnsupported;
}

bool KernelTls::usable() const noexcept {
  return std::ranges::any_of(
      kCipherSuites, [this](CipherSuite suite) { return !refuses(RecordVersion::kTls13, suite); });
}

std::string KernelTls::describe() const {
  if (!present_) {
    std::string text = "kernel TLS: unavailable, " + std::string(to_string(reason_));
    if (error_ != 0) text += std::string(" (") + iouring::errno_name(error_) + ")";
    switch (reason_) {
      case KtlsFallback::kModuleAbsent:
        return text +
               ": load it with `modprobe tls`, or start as root once, so that the kernel "
               "loads it by itself";
      case KtlsFallback::kForbidden:
        return text + ": something refuses TCP_ULP, a seccomp filter perhaps";
      case KtlsFallback::kProbeFailed:
        return text + ": no TCP connection over loopback to try it on";
      default:
        return text;
    }
  }
  std::string text = "kernel TLS:";
  for (const RecordVersion version : {RecordVersion::kTls13, RecordVersion::kTls12}) {
    const auto& errors = errors_[index_of(version)];
    const std::string working = list_of(errors, true);
    const std::string missing = list_of(errors, false);
    text += version == RecordVersion::kTls13 ? " TLS 1.3 " : "; TLS 1.2 ";
    text += working.empty() ? "none" : working;
    if (!missing.empty()) text += ", not " + missing;
  }
  text += rekey_ ? "; re-keys" : "; cannot re-key, a KeyUpdate ends the connection";
  if (!expect_no_pad_) text += "; no TLS_RX_EXPECT_NO_PAD, which would garble padded records";
  return text;
}

}  // namespace sallyport::ktls
