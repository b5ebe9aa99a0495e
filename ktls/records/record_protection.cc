#include "ktls/records/record_protection.h"

#include <openssl/err.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "iouring/invariant.h"
#include "ktls/base/big_endian.h"
#include "ktls/base/openssl_handles.h"

namespace sallyport::ktls {
namespace {

using Direction = CipherContexts::Direction;

/// Content up to this size is copied before it is sealed, so that all its spans and the inner type
/// are one EVP call; above it the copy costs more than the calls.
constexpr std::size_t kCopyBelow = 4096;

/// RFC 8446 5.3, RFC 7905 2: the sequence number, big-endian and padded on the left, xored into the
/// iv. AES-GCM in TLS 1.2: the sequence number behind the fixed iv (RFC 5288 3 leaves the choice).
/// OpenSSL drew that part of its Finished's nonce at random: a chance of 2^-40 that one of 2^24
/// records repeats it, where NIST SP 800-38D 8 tolerates 2^-32.
std::array<std::byte, kIvSize> nonce_of(const RecordKey& key, std::uint64_t seq) {
  std::array<std::byte, kIvSize> nonce = key.iv;
  for (std::size_t i = 0; i < sizeof(seq); ++i) {
    nonce[kIvSize - 1 - i] ^= static_cast<std::byte>(seq >> (8 * i));
  }
  return nonce;
}

/// Sequence number, type, version, length of the content: RFC 5246 6.2.3.3.
using Tls12AdditionalData = std::array<std::byte, sizeof(std::uint64_t) + kRecordHeaderSize>;

/// The additional data of the AEAD: in TLS 1.3 the record's header (RFC 8446 5.2), in TLS 1.2 what
/// is written to `room`.
std::span<const std::byte> additional_data(RecordVersion version, std::uint64_t seq,
                                           std::span<const std::byte, kRecordHeaderSize> header,
                                           std::size_t content,
                                           Tls12AdditionalData& room) noexcept {
  if (version == RecordVersion::kTls13) return header;
  std::ranges::copy(big_endian(seq), room.begin());
  const ContentType type = RecordHeader::parse(header).type;
  const auto with_length = RecordHeader{type, static_cast<std::uint16_t>(content)}.serialise();
  std::ranges::copy(with_length, room.begin() + sizeof seq);
  return room;
}

/// One update of sealing or opening, in place or not; a null `out` adds additional data.
bool update(EVP_CIPHER_CTX* context, std::byte* out, const std::byte* in, std::size_t size) {
  int written = 0;
  return EVP_CipherUpdate(context, raw(out), &written, raw(in), static_cast<int>(size)) == 1 &&
         (out == nullptr || written == static_cast<int>(size));
}

bool finish(EVP_CIPHER_CTX* context) {
  std::array<unsigned char, kTagSize> nothing;
  int written = 0;
  return EVP_CipherFinal_ex(context, nothing.data(), &written) == 1;
}

/// Bytes up to and with the last one that is not zero. A padded plaintext is read to its first byte
/// whatever it holds, so that the time tells its length only (RFC 8446 E.3 warns of more).
std::size_t without_padding(std::span<const std::byte> inner) {
  if (inner.empty() || inner.back() != std::byte{0}) return inner.size();
  std::size_t kept = 0;
  for (std::size_t i = 0; i < inner.size(); ++i) {
    const std::size_t mask = std::size_t{0} - static_cast<std::size_t>(inner[i] != std::byte{0});
    kept = (kept & ~mask) | ((i + 1) & mask);
  }
  return kept;
}

}  // namespace

PlaintextCursor::PlaintextCursor(std::span<const iovec> spans) noexcept : spans_(spans) {
  for (const iovec& span : spans) remaining_ += span.iov_len;
}

std::span<const std::byte> PlaintextCursor::take(std::size_t limit) noexcept {
  while (!spans_.empty() && offset_ == spans_.front().iov_len) {
    spans_ = spans_.subspan(1);
    offset_ = 0;
  }
  if (spans_.empty()) return {};
  const iovec& front = spans_.front();
  const std::size_t size = std::min(limit, front.iov_len - offset_);
  const std::span<const std::byte> run{static_cast<const std::byte*>(front.iov_base) + offset_,
                                       size};
  offset_ += size;
  remaining_ -= size;
  return run;
}

RecordProtection::RecordProtection(CipherContexts& contexts, CipherSuite suite,
                                   const DirectionState& state, RecordVersion version) noexcept
    : contexts_(contexts),
      seq_(state.rec_seq),
      key_(state.key(suite, version)),
      secret_(state.secret()),
      suite_(suite),
      version_(version) {}

RecordProtection::~RecordProtection() {
  contexts_.release(claim_);
}

void RecordProtection::next_generation() noexcept {
  iouring::invariant(version_ == RecordVersion::kTls13, "TLS 1.2 has no KeyUpdate");
  contexts_.release(claim_);
  secret_ = next_secret(suite_, secret_);
  key_ = derive_key(suite_, secret_);
  seq_ = 0;
}

std::expected<std::size_t, RecordError> RecordSealer::seal(ContentType type,
                                                           PlaintextCursor& content,
                                                           std::span<std::byte> out) noexcept {
  const std::size_t overhead = record_overhead(version_, suite_);
  const std::size_t least = overhead + (content.remaining() != 0 ? 1 : 0);
  iouring::invariant(out.size() >= least, "there is room to seal",
                     static_cast<long long>(out.size()), static_cast<long long>(least));
  std::size_t written = 0;
  do {
    const std::size_t room = out.size() - written - overhead;
    const std::size_t size = std::min({content.remaining(), std::size_t{max_fragment_}, room});
    const auto sealed = seal_one(type, content, size, out.data() + written);
    if (!sealed) return std::unexpected(sealed.error());
    written += size + overhead;
  } while (content.remaining() != 0 && out.size() - written > overhead);
  return written;
}

std::expected<void, RecordError> RecordSealer::seal_one(ContentType type, PlaintextCursor& content,
                                                        std::size_t size, std::byte* out) noexcept {
  if (seq_ == std::numeric_limits<std::uint64_t>::max()) {
    return refuse(RecordFailure::kSequenceExhausted);
  }
  const bool hides_type = version_ == RecordVersion::kTls13;
  const std::size_t inner_size = size + (hides_type ? 1 : 0);
  const std::size_t explicit_size = explicit_nonce_size(version_, suite_);
  const auto header =
      RecordHeader{hides_type ? ContentType::kApplicationData : type,
                   static_cast<std::uint16_t>(explicit_size + inner_size + kTagSize)}
          .serialise();
  std::ranges::copy(header, out);
  std::byte* const body = out + kRecordHeaderSize + explicit_size;
  std::byte* const tag = body + inner_size;

  const auto nonce = nonce_of(key_, seq_);
  std::ranges::copy(std::span(nonce).last(explicit_size), out + kRecordHeaderSize);
  EVP_CIPHER_CTX* const context = contexts_.start(claim_, suite_, Direction::kSeal, key_, nonce);
  Tls12AdditionalData room;
  const auto additional = additional_data(version_, seq_, header, size, room);
  bool done = context != nullptr && update(context, nullptr, additional.data(), additional.size());

  const auto inner_type = static_cast<std::byte>(type);
  if (size <= kCopyBelow) {
    for (std::size_t copied = 0; copied < size;) {
      const auto run = content.take(size - copied);
      std::memcpy(body + copied, run.data(), run.size());
      copied += run.size();
    }
    if (hides_type) body[size] = inner_type;
    done = done && (inner_size == 0 || update(context, body, body, inner_size));
  } else {
    for (std::size_t sealed = 0; sealed < size;) {
      const auto run = content.take(size - sealed);
      done = done && update(context, body + sealed, run.data(), run.size());
      sealed += run.size();
    }
    done = done && (!hides_type || update(context, body + size, &inner_type, 1));
  }
  done = done && finish(context) &&
         EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, kTagSize, tag) == 1;
  if (!done) return refuse(RecordFailure::kInternal);
  ++seq_;
  return {};
}

std::expected<RecordHeader, RecordError> RecordOpener::check_header(
    std::span<const std::byte, kRecordHeaderSize> bytes) const noexcept {
  const RecordHeader header = RecordHeader::parse(bytes);
  std::size_t least = kTagSize;
  std::size_t most = kMaxCiphertextSize;
  bool known_type = header.type == ContentType::kApplicationData;
  bool known_version = true;
  if (version_ == RecordVersion::kTls12) {
    least += explicit_nonce_size(version_, suite_);
    most = least + kMaxPlaintextSize;
    known_type = header.type >= ContentType::kChangeCipherSpec &&
                 header.type <= ContentType::kApplicationData;
    known_version = bytes[1] == std::byte{3} && bytes[2] == std::byte{3};
  }
  if (!known_type) return refuse(RecordFailure::kUnexpectedMessage);
  if (header.length > most) return refuse(RecordFailure::kRecordOverflow);
  // Too short for nonce and tag, or of another version: it cannot authenticate.
  if (header.length < least || !known_version) return refuse(RecordFailure::kBadRecordMac);
  return header;
}

/// Decrypts `inner`, which lies in `record` before its tag.
std::expected<void, RecordError> RecordOpener::decrypt(std::span<std::byte> record,
                                                       std::span<std::byte> inner) noexcept {
  std::byte* const tag = inner.data() + inner.size();
  auto nonce = nonce_of(key_, seq_);
  const std::size_t explicit_size = explicit_nonce_size(version_, suite_);
  std::ranges::copy(record.subspan(kRecordHeaderSize, explicit_size),
                    std::span(nonce).last(explicit_size).begin());
  EVP_CIPHER_CTX* const context = contexts_.start(claim_, suite_, Direction::kOpen, key_, nonce);
  Tls12AdditionalData room;
  const auto additional =
      additional_data(version_, seq_, record.first<kRecordHeaderSize>(), inner.size(), room);
  if (context == nullptr ||
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, kTagSize, tag) != 1 ||
      !update(context, nullptr, additional.data(), additional.size())) {
    return refuse(RecordFailure::kInternal);
  }
  const bool opened =
      (inner.empty() || update(context, inner.data(), inner.data(), inner.size())) &&
      finish(context);
  if (!opened) {
    ERR_clear_error();  // a handshake on this thread must not find these entries
    return refuse(RecordFailure::kBadRecordMac);
  }
  return {};
}

std::expected<OpenedRecord, RecordError> RecordOpener::open(std::span<std::byte> record) noexcept {
  iouring::invariant(record.size() >= kRecordHeaderSize, "a record has a header",
                     static_cast<long long>(record.size()), kRecordHeaderSize);
  const auto header = check_header(record.first<kRecordHeaderSize>());
  if (!header) return std::unexpected(header.error());
  const std::size_t whole = kRecordHeaderSize + header->length;
  iouring::invariant(record.size() == whole, "a record is whole",
                     static_cast<long long>(record.size()), static_cast<long long>(whole));
  if (seq_ == std::numeric_limits<std::uint64_t>::max()) {
    return refuse(RecordFailure::kSequenceExhausted);
  }

  const std::size_t explicit_size = explicit_nonce_size(version_, suite_);
  const std::span inner =
      record.subspan(kRecordHeaderSize + explicit_size, header->length - explicit_size - kTagSize);
  const auto decrypted = decrypt(record, inner);
  if (!decrypted) return std::unexpected(decrypted.error());
  ++seq_;
  if (version_ == RecordVersion::kTls12) return OpenedRecord{header->type, inner};
  if (inner.size() > kMaxPlaintextSize + 1) return refuse(RecordFailure::kRecordOverflow);

  const std::size_t kept = without_padding(inner);
  if (kept == 0) return refuse(RecordFailure::kUnexpectedMessage);
  return OpenedRecord{static_cast<ContentType>(inner[kept - 1]), inner.first(kept - 1)};
}

}  // namespace sallyport::ktls
