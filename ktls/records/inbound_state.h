#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "ktls/keys/suite.h"
#include "ktls/records/post_handshake.h"
#include "ktls/records/received.h"
#include "ktls/records/record.h"
#include "ktls/records/record_error.h"
#include "ktls/records/ticket_sink.h"

namespace sallyport::ktls {

/// The receiving direction after the handshake, behind decryption, which is done elsewhere: what
/// the peer's records mean, and how its data ended. Pure: no IO, no keys.
class InboundState {
 public:
  /// When a record is processed.
  struct Moment {
    KeyUpdateBudget::Clock::time_point now{};
    std::uint64_t sent_records = 0;  ///< by the sending direction, under its present key
  };

  /// How the peer's data ended. Once it has, nothing more is processed.
  enum class End : std::uint8_t {
    kOpen,          ///< it has not
    kCloseNotify,   ///< cleanly; what follows is ignored
    kTruncated,     ///< FIN without close_notify
    kFailed,        ///< a record was refused, or was a fatal alert; error() says which
    kSocketFailed,  ///< error() has the errno
  };

  /// `role`: which end this is.
  InboundState(Role role, RecordVersion version) noexcept : role_(role), version_(version) {}

  /// Processes one record by its type, in TLS 1.3 the inner one, and its content, which is whole
  /// but for application data; that may come in pieces of any size. Data may be delivered if
  /// ended() is still false afterwards.
  void process(ContentType type, std::span<const std::byte> content, const Moment& moment);
  /// Gives the tickets that come to `sink`; null: drops them, as without it. The sink is gone once
  /// it wants no more, with the server's first data, which servers send behind their tickets, and
  /// with an end.
  void collect_tickets(std::unique_ptr<TicketSink> sink) noexcept { tickets_ = std::move(sink); }
  /// The sink, if it is still there, for another layer.
  std::unique_ptr<TicketSink> release_tickets() noexcept { return std::move(tickets_); }
  /// A record could not be opened, or the direction cannot go on.
  void refuse(RecordFailure failure) noexcept { refuse(RecordError{.failure = failure}); }
  void refuse(RecordError error) noexcept;
  /// The peer's FIN.
  void end_of_file() noexcept { end_with(End::kTruncated); }
  /// A receive failed with an errno of the socket. A cancelled one ends nothing: the result says so
  /// and the next receive goes on.
  Received receive_failed(iouring::Errno error) noexcept;

  bool ended() const noexcept { return end_ != End::kOpen; }
  End end() const noexcept { return end_; }
  const RecordError& error() const noexcept { return error_; }
  /// What receive() returns from the end on.
  Received end_of_input() const noexcept;
  /// Of kFailed: what the peer is still to be told, once.
  std::optional<RecordFailure> take_failure() noexcept;

  /// True once after each KeyUpdate: what follows is under the next key.
  bool take_rekey() noexcept;
  /// True once after the peer asked for new keys, however often it did: in TLS 1.3 for a KeyUpdate,
  /// in TLS 1.2 for another handshake, which is declined.
  bool take_update_request() noexcept;
  /// True once after tickets, wanted or not.
  bool take_ticket() noexcept { return std::exchange(ticket_, false); }
  /// A handshake message is half received.
  bool mid_message() const noexcept { return post_ && post_->messages.mid_message(); }

  std::uint32_t key_updates() const noexcept { return key_updates_; }
  std::uint64_t received_bytes() const noexcept { return received_bytes_; }  ///< of plaintext

 private:
  void end_with(End how) noexcept;
  void process_data(std::size_t bytes) noexcept;
  void process_alert(std::span<const std::byte> content) noexcept;
  void process_handshake(std::span<const std::byte> content, const Moment& moment);
  void process_message(const PostHandshakeMessage& message, const Moment& moment) noexcept;

  /// What only a connection has whose peer sends handshake messages.
  struct PostHandshake {
    PostHandshakeParser messages;
    KeyUpdateBudget budget{};
    std::uint8_t renegotiations = 0;
  };

  std::unique_ptr<PostHandshake> post_;  ///< from the first of them on
  std::unique_ptr<TicketSink> tickets_;  ///< null: tickets are dropped
  std::uint64_t received_bytes_ = 0;
  std::uint32_t key_updates_ = 0;
  RecordError error_;
  End end_ = End::kOpen;
  Role role_;
  RecordVersion version_;
  bool failure_pending_ = false;
  bool rekey_due_ = false;
  bool update_requested_ = false;
  bool ticket_ = false;
  std::uint8_t warnings_ = 0;
  std::uint8_t empty_records_ = 0;  ///< since the last data
};

}  // namespace sallyport::ktls
