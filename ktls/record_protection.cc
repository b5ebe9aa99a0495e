#include "ktls/record_protection.h"

#include <openssl/err.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>

namespace sallyport::ktls {
namespace {

using Direction = CipherContexts::Direction;

/// Content up to this size is copied before it is sealed, so that content and inner type are one
/// EVP call; above it the copy costs more than the second call.
constexpr std::size_t kCopyBelow = 4096;

unsigned char* raw(std::byte* bytes) {
  return reinterpret_cast<unsigned char*>(bytes);
}
const unsigned char* raw(const std::byte* bytes) {
  return reinterpret_cast<const unsigned char*>(bytes);
}

std::unexpected<RecordError> refuse(RecordFailure failure) {
  return std::unexpected(RecordError{.failure = failure});
}

/// RFC 8446 5.3: the sequence number, big-endian and padded on the left, xored into the iv.
std::array<std::byte, kIvSize> nonce_of(const RecordKey& key, std::uint64_t seq) {
  std::array<std::byte, kIvSize> nonce = key.iv;
  for (std::size_t i = 0; i < sizeof(seq); ++i) {
    nonce[kIvSize - 1 - i] ^= static_cast<std::byte>(seq >> (8 * i));
  }
  return nonce;
}

/// Sealing or opening, in place or not, and the context counts the bytes.
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

[[noreturn]] void die(const char* what, std::size_t value, std::size_t bound) {
  std::fprintf(stderr, "sallyport: records: %s: %zu against %zu\n", what, value, bound);
  std::abort();
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

RecordSealer::RecordSealer(CipherContexts& contexts, CipherSuite suite,
                           DirectionState state) noexcept
    : contexts_(contexts),
      seq_(state.rec_seq),
      limit_(record_limit(suite)),
      key_(derive_key(suite, state.secret)),
      secret_(std::move(state.secret)),
      suite_(suite) {}

RecordSealer::~RecordSealer() {
  contexts_.release(claim_);
}

std::expected<std::size_t, RecordError> RecordSealer::seal(ContentType type,
                                                           PlaintextCursor& content,
                                                           std::span<std::byte> out) noexcept {
  const std::size_t least = kRecordOverhead + (content.remaining() != 0 ? 1 : 0);
  if (out.size() < least) die("no room to seal", out.size(), least);
  std::size_t written = 0;
  do {
    const std::size_t room = out.size() - written - kRecordOverhead;
    const std::size_t size = std::min({content.remaining(), kMaxPlaintextSize, room});
    const auto sealed = seal_one(type, content, size, out.data() + written);
    if (!sealed) return std::unexpected(sealed.error());
    written += size + kRecordOverhead;
  } while (content.remaining() != 0 && out.size() - written > kRecordOverhead);
  return written;
}

std::expected<void, RecordError> RecordSealer::seal_one(ContentType type, PlaintextCursor& content,
                                                        std::size_t size, std::byte* out) noexcept {
  if (seq_ == std::numeric_limits<std::uint64_t>::max()) {
    return refuse(RecordFailure::kSequenceExhausted);
  }
  const auto header =
      RecordHeader{ContentType::kApplicationData, static_cast<std::uint16_t>(size + 1 + kTagSize)}
          .serialise();
  std::ranges::copy(header, out);
  std::byte* const body = out + kRecordHeaderSize;
  std::byte* const tag = body + size + 1;

  const auto nonce = nonce_of(key_, seq_);
  EVP_CIPHER_CTX* const context = contexts_.start(claim_, suite_, Direction::kSeal, key_, nonce);
  bool done = context != nullptr && update(context, nullptr, out, kRecordHeaderSize);

  const auto inner_type = static_cast<std::byte>(type);
  if (size <= kCopyBelow) {
    for (std::size_t copied = 0; copied < size;) {
      const auto run = content.take(size - copied);
      std::memcpy(body + copied, run.data(), run.size());
      copied += run.size();
    }
    body[size] = inner_type;
    done = done && update(context, body, body, size + 1);
  } else {
    for (std::size_t sealed = 0; sealed < size;) {
      const auto run = content.take(size - sealed);
      done = done && update(context, body + sealed, run.data(), run.size());
      sealed += run.size();
    }
    done = done && update(context, body + size, &inner_type, 1);
  }
  done = done && finish(context) &&
         EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, kTagSize, tag) == 1;
  if (!done) return refuse(RecordFailure::kInternal);
  ++seq_;
  return {};
}

void RecordSealer::next_generation() noexcept {
  contexts_.release(claim_);
  secret_ = next_secret(suite_, secret_);
  key_ = derive_key(suite_, secret_);
  seq_ = 0;
}

RecordOpener::RecordOpener(CipherContexts& contexts, CipherSuite suite,
                           DirectionState state) noexcept
    : contexts_(contexts),
      seq_(state.rec_seq),
      key_(derive_key(suite, state.secret)),
      secret_(std::move(state.secret)),
      suite_(suite) {}

RecordOpener::~RecordOpener() {
  contexts_.release(claim_);
}

std::expected<RecordHeader, RecordError> RecordOpener::check_header(
    std::span<const std::byte, kRecordHeaderSize> bytes) noexcept {
  const RecordHeader header = RecordHeader::parse(bytes);
  if (header.type != ContentType::kApplicationData) {
    return refuse(RecordFailure::kUnexpectedMessage);
  }
  if (header.length > kMaxCiphertextSize) return refuse(RecordFailure::kRecordOverflow);
  // Too short for a tag: nothing that could authenticate.
  if (header.length < kTagSize) return refuse(RecordFailure::kBadRecordMac);
  return header;
}

std::expected<OpenedRecord, RecordError> RecordOpener::open(std::span<std::byte> record) noexcept {
  if (record.size() < kRecordHeaderSize) die("a record", record.size(), kRecordHeaderSize);
  const auto header = check_header(record.first<kRecordHeaderSize>());
  if (!header) return std::unexpected(header.error());
  if (record.size() != kRecordHeaderSize + header->length) {
    die("a record", record.size(), kRecordHeaderSize + header->length);
  }
  if (seq_ == std::numeric_limits<std::uint64_t>::max()) {
    return refuse(RecordFailure::kSequenceExhausted);
  }

  const std::span inner = record.subspan(kRecordHeaderSize, header->length - kTagSize);
  std::byte* const tag = inner.data() + inner.size();
  const auto nonce = nonce_of(key_, seq_);
  EVP_CIPHER_CTX* const context = contexts_.start(claim_, suite_, Direction::kOpen, key_, nonce);
  if (context == nullptr ||
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, kTagSize, tag) != 1 ||
      !update(context, nullptr, record.data(), kRecordHeaderSize)) {
    return refuse(RecordFailure::kInternal);
  }
  const bool opened =
      (inner.empty() || update(context, inner.data(), inner.data(), inner.size())) &&
      finish(context);
  if (!opened) {
    ERR_clear_error();  // a handshake on this thread must not find our leavings
    return refuse(RecordFailure::kBadRecordMac);
  }
  ++seq_;
  if (inner.size() > kMaxPlaintextSize + 1) return refuse(RecordFailure::kRecordOverflow);

  const std::size_t kept = without_padding(inner);
  if (kept == 0) return refuse(RecordFailure::kUnexpectedMessage);
  return OpenedRecord{static_cast<ContentType>(inner[kept - 1]), inner.first(kept - 1)};
}

void RecordOpener::next_generation() noexcept {
  contexts_.release(claim_);
  secret_ = next_secret(suite_, secret_);
  key_ = derive_key(suite_, secret_);
  seq_ = 0;
}

}  // namespace sallyport::ktls
