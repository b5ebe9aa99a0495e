#pragma once

#include <gtest/gtest.h>

#include <span>
#include <string>
#include <vector>

#include "ktls/records/post_handshake.h"
#include "ktls/records/record_protection.h"
#include "tests/ktls/bytes.h"
#include "tests/ktls/records/layer_fixture.h"

namespace sallyport::ktls::testing {

using Words = std::vector<std::string>;

/// The other end: seals what the test wants, and opens what the layer sent.
class ScriptedPeer {
 public:
  ScriptedPeer(CipherContexts& contexts, const SessionState& state)
      : sealer_(contexts, state.suite, state.tx, state.version),
        opener_(contexts, state.suite, state.rx, state.version) {}
  ScriptedPeer(Shard& shard, const SessionState& state) : ScriptedPeer(shard.contexts, state) {}

  Bytes seal(ContentType type, std::span<const std::byte> content) {
    const iovec span = testing::span_of(content);
    PlaintextCursor cursor{std::span(&span, 1)};
    Bytes out(sealed_size(content.size(), record_overhead(sealer_.version(), sealer_.suite())));
    EXPECT_TRUE(sealer_.seal(type, cursor, out));
    return out;
  }
  Bytes data(std::span<const std::byte> content) {
    return seal(ContentType::kApplicationData, content);
  }
  Bytes alert(AlertDescription description, AlertLevel level = AlertLevel::kFatal) {
    const std::byte content[] = {static_cast<std::byte>(level),
                                 static_cast<std::byte>(description)};
    return seal(ContentType::kAlert, content);
  }
  Bytes close_notify() { return alert(AlertDescription::kCloseNotify); }
  /// A KeyUpdate; what is sealed afterwards is under the new key.
  Bytes key_update(KeyUpdateRequest request) {
    const Bytes record = seal(ContentType::kHandshake, key_update_message(request));
    sealer_.next_generation();
    return record;
  }
  /// What is sealed from now on is under the next key.
  void rekey() { sealer_.next_generation(); }
  /// Content, inner type and padding laid out by hand.
  Bytes inner(std::span<const std::byte> content, int type, std::size_t padding) {
    Bytes bytes(content.begin(), content.end());
    bytes.push_back(static_cast<std::byte>(type));
    bytes.resize(bytes.size() + padding - 1);
    return seal(ContentType::kInvalid, bytes);  // inner type 0: the last byte of the padding
  }

  /// What the layer sent, record by record: "data:5", "alert:20", "warning:100" (no close_notify),
  /// "update:0" (which replaces the key).
  Words read(Bytes bytes) {
    Words words;
    for (std::span<std::byte> rest = bytes; !rest.empty();) {
      const std::size_t size =
          kRecordHeaderSize + RecordHeader::parse(rest.first<kRecordHeaderSize>()).length;
      if (size > rest.size()) {
        words.emplace_back("cut");
        break;
      }
      const auto opened = opener_.open(rest.first(size));
      rest = rest.subspan(size);
      if (!opened) {
        words.emplace_back("unreadable");
        break;
      }
      const std::span<std::byte> content = opened->content;
      if (opened->type == ContentType::kApplicationData) {
        words.push_back("data:" + std::to_string(content.size()));
      } else if (opened->type == ContentType::kAlert) {
        const bool warns = static_cast<AlertLevel>(content[0]) == AlertLevel::kWarning;
        words.push_back((warns && content[1] != std::byte{0} ? "warning:" : "alert:") +
                        std::to_string(std::to_integer<int>(content[1])));
      } else {
        words.push_back("update:" + std::to_string(std::to_integer<int>(content[4])));
        opener_.next_generation();
      }
    }
    return words;
  }

 private:
  RecordSealer sealer_;
  RecordOpener opener_;
};

}  // namespace sallyport::ktls::testing
