// For tests that seal records themselves, as no TLS library makes them, once OpenSSL has done a
// handshake.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tests/e2e/scenario.h"
#include "tests/ktls/records/scripted_peer.h"

namespace sallyport::test {

/// The one that a line of SSLKEYLOGFILE has.
inline ktls::TrafficSecret logged_secret(const std::string& key_log, std::string_view label) {
  const std::size_t line = key_log.find(label);
  const std::size_t begin = key_log.find(' ', key_log.find(' ', line) + 1) + 1;
  return ktls::TrafficSecret(
      ktls::testing::from_hex(key_log.substr(begin, key_log.find('\n', begin) - begin)));
}

struct Offence {
  const char* what;
  ktls::testing::Bytes (*bytes)(ktls::testing::ScriptedPeer& peer);
  int alert;  ///< that it deserves
};

/// Those of either side. `in_kernel`: the gateway's records are made there.
inline std::vector<Offence> offences(bool in_kernel) {
  using ktls::ContentType;
  using ktls::testing::Bytes;
  using ktls::testing::from_hex;
  using ktls::testing::ScriptedPeer;
  // Three that the kernel judges by itself, before it says what they are (RFC 8446 5.1, 5.4).
  const int unless_in_kernel = in_kernel ? kBadRecordMac : kUnexpectedMessage;
  return {
      {"nothing but padding", [](ScriptedPeer& peer) { return peer.inner({}, 0, 100); },
       unless_in_kernel},
      {"plaintext alert", [](ScriptedPeer&) { return from_hex("15 0303 0002 0100"); },
       unless_in_kernel},
      {"too long", [](ScriptedPeer&) { return from_hex("17 0303 4112"); }, kRecordOverflow},
      {"tampered",
       [](ScriptedPeer& peer) {
         Bytes record = peer.data(Bytes(100));
         record[20] ^= std::byte{1};
         return record;
       },
       kBadRecordMac},
      {"once more",
       [](ScriptedPeer& peer) {
         Bytes twice = peer.data({});
         ktls::testing::append(twice, Bytes(twice));
         return twice;
       },
       kBadRecordMac},
      {"ChangeCipherSpec", [](ScriptedPeer& peer) { return peer.inner(Bytes(1), 20, 1); },
       kUnexpectedMessage},
      {"a type of no protocol", [](ScriptedPeer& peer) { return peer.inner(Bytes(1), 99, 1); },
       kUnexpectedMessage},
      {"an alert of three bytes",
       [](ScriptedPeer& peer) { return peer.seal(ContentType::kAlert, Bytes(3)); }, kDecodeError},
      {"a KeyUpdate that asks for the impossible",
       [](ScriptedPeer& peer) {
         return peer.seal(ContentType::kHandshake, from_hex("18 000001 02"));
       },
       kIllegalParameter},
  };
}

}  // namespace sallyport::test
