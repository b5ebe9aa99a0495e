// RFC 8448 section 3, "Simple 1-RTT Handshake", TLS_AES_128_GCM_SHA256: the secrets of its
// schedule.
#pragma once

#include "tests/ktls/bytes.h"

namespace sallyport::ktls::testing::rfc8448 {

inline const Bytes kEarlySecret = from_hex(
    "33 ad 0a 1c 60 7e c0 3b 09 e6 cd 98 93 68 0c e2 10 ad f3 00 aa 1f 26 60 e1 b2 2e 10 f1 70 f9 "
    "2a");
inline const Bytes kSharedSecret = from_hex(
    "8b d4 05 4f b5 5b 9d 63 fd fb ac f9 f0 4b 9f 0d 35 e6 d6 3f 53 75 63 ef d4 62 72 90 0f 89 49 "
    "2d");
inline const Bytes kHandshakeSecret = from_hex(
    "1d c8 26 e9 36 06 aa 6f dc 0a ad c1 2f 74 1b 01 04 6a a6 b9 9f 69 1e d2 21 a9 f0 ca 04 3f be "
    "ac");
inline const Bytes kMasterSecret = from_hex(
    "18 df 06 84 3d 13 a0 8b f2 a4 49 84 4c 5f 8a 47 80 01 bc 4d 4c 62 79 84 d5 a4 1d a8 d0 40 29 "
    "19");
inline const Bytes kTranscriptHash = from_hex(
    "96 08 10 2a 0f 1c cc 6d b6 25 0b 7b 7e 41 7b 1a 00 0e aa da 3d aa e4 77 7a 76 86 c9 ff 83 df "
    "13");
inline const Bytes kClientSecret = from_hex(
    "9e 40 64 6c e7 9a 7f 9d c0 5a f8 88 9b ce 65 52 87 5a fa 0b 06 df 00 87 f7 92 eb b7 c1 75 04 "
    "a5");
inline const Bytes kServerSecret = from_hex(
    "a1 1a f9 f0 55 31 f8 56 ad 47 11 6b 45 a9 50 32 82 04 b4 f4 4b fb 6b 3a 4b 4f 1f 3f cb 63 16 "
    "43");

}  // namespace sallyport::ktls::testing::rfc8448
