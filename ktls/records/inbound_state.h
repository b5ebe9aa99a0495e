#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "ktls/keys/suite.h"
#include "ktls/records/post_handshake.h"
#include "ktls/records/record.h"
#include "ktls/records/record_error.h"

namespace sallyport::ktls {

/// What the peer's records mean after the handshake, once they are opened, whoever opened them.
/// Pure: no IO, no keys.
class InboundState {
 public:
  /// How the peer's data ended.
  enum class End : std::uint8_t {
    kOpen,         ///< it has not
    kCloseNotify,  ///< cleanly; what follows is ignored
    kFailed,       ///< error() says why
  };

  /// `role` is ours.
  InboundState(Role role, RecordVersion version) noexcept : role_(role), version_(version) {}

  /// Judges one record by its type, in TLS 1.3 the inner one, and content, whole but for
  /// application data, which may come in pieces of any size. Data may be delivered if end() is
  /// still kOpen afterwards.
  void process(ContentType type, std::span<const std::byte> content,
               KeyUpdateBudget::Clock::time_point now);
  /// The record could not be opened, or the direction cannot go on.
  void refuse(RecordFailure failure) noexcept { fail(RecordError{.failure = failure}); }
  void refuse(RecordError error) noexcept { fail(error); }

  End end() const noexcept { return end_; }
  const RecordError& error() const noexcept { return error_; }

  /// True once after each KeyUpdate: what follows is under the next key.
  bool take_rekey() noexcept;
  /// True once after the peer asked for a KeyUpdate, however often it did.
  bool take_update_request() noexcept;
  /// A handshake message is half received.
  bool mid_message() const noexcept { return post_ && post_->messages.mid_message(); }

  std::uint32_t key_updates() const noexcept { return key_updates_; }
  std::uint64_t received_bytes() const noexcept { return received_bytes_; }  ///< of plaintext

 private:
  void process_alert(std::span<const std::byte> content) noexcept;
  void process_handshake(std::span<const std::byte> content,
                         KeyUpdateBudget::Clock::time_point now);
  void refuse_handshake(std::span<const std::byte> content) noexcept;
  void fail(RecordError error) noexcept;

  /// What only a connection has whose peer sends handshake messages.
  struct PostHandshake {
    PostHandshakeParser messages;
    KeyUpdateBudget budget{};
  };

  std::unique_ptr<PostHandshake> post_;  ///< from the first of them on
  std::uint64_t received_bytes_ = 0;
  std::uint32_t key_updates_ = 0;
  RecordError error_;
  End end_ = End::kOpen;
  Role role_;
  RecordVersion version_;
  bool rekey_due_ = false;
  bool update_requested_ = false;
  std::uint8_t warnings_ = 0;
};

}  // namespace sallyport::ktls
