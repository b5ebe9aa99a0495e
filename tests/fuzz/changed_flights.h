#pragma once

#include <openssl/ssl.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "ktls/base/openssl_handles.h"
#include "ktls/records/record.h"

/// What the fuzzers of handshakes share: OpenSSL's side over memory, and flights that are changed
/// on their way from it.
namespace sallyport::fuzz {

/// OpenSSL's client or server. `context` outlives it.
struct OpensslSide {
  OpensslSide(SSL_CTX* context, bool tls12) : ssl(SSL_new(context)) {
    if (tls12) SSL_set_max_proto_version(ssl.get(), TLS1_2_VERSION);
    in = BIO_new(BIO_s_mem());
    out = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(in, -1);
    SSL_set_bio(ssl.get(), in, out);
  }
  /// What it has to say.
  std::vector<std::byte> flight() {
    SSL_do_handshake(ssl.get());
    std::vector<std::byte> bytes(BIO_ctrl_pending(out));
    if (!bytes.empty()) BIO_read(out, bytes.data(), static_cast<int>(bytes.size()));
    return bytes;
  }
  void give(std::span<const std::byte> bytes) {
    BIO_write(in, bytes.data(), static_cast<int>(bytes.size()));
  }

  ktls::SslPtr ssl;
  BIO* in;
  BIO* out;
};

/// By an input of a fuzzer: changes of three bytes each, where (two bytes, of all flights) and what
/// to xor.
class ChangedFlights {
 public:
  explicit ChangedFlights(std::span<const std::uint8_t> input) {
    for (std::size_t i = 0; i + 3 <= input.size(); i += 3)
      changes_.push_back({.at = std::size_t{input[i]} << 8 | input[i + 1],
                          .by = static_cast<std::byte>(input[i + 2])});
  }

  /// The next flight, as it arrives.
  std::vector<std::byte> change(const std::vector<std::byte>& original) {
    std::vector<std::byte> flight = original;
    for (const Change& change : changes_) {
      if (change.at < sent_ || change.at >= sent_ + flight.size()) continue;
      flight[change.at - sent_] ^= change.by;
    }
    changed_ = changed_ || flight != original;
    for (std::size_t i = 0; i < flight.size(); ++i)
      message_changed_ = message_changed_ || (flight[i] != original[i] && in_message(original, i));
    sent_ += flight.size();
    return flight;
  }

  /// Whether any byte has changed so far.
  bool changed() const { return changed_; }
  /// Whether one of a message has.
  bool message_changed() const { return message_changed_; }

 private:
  struct Change {
    std::size_t at;
    std::byte by;
  };

  /// Not in a record header: there a version or an empty record may change without consequence.
  static bool in_message(std::span<const std::byte> flight, std::size_t at) {
    std::size_t begin = 0;
    while (begin + ktls::kRecordHeaderSize <= flight.size()) {
      const auto header =
          ktls::RecordHeader::parse(flight.subspan(begin).first<ktls::kRecordHeaderSize>());
      const std::size_t end = begin + ktls::kRecordHeaderSize + header.length;
      if (at < begin + ktls::kRecordHeaderSize) return false;
      if (at < end) return header.type != ktls::ContentType::kChangeCipherSpec;
      begin = end;
    }
    return false;
  }

  std::vector<Change> changes_;
  std::size_t sent_ = 0;
  bool changed_ = false;
  bool message_changed_ = false;
};

}  // namespace sallyport::fuzz
