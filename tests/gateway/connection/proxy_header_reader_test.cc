#include "gateway/connection/proxy_header_reader.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/backends/proxy_header.h"
#include "tests/support/random.h"

namespace sallyport::gateway {
namespace {

using namespace std::string_literals;
using State = ProxyHeaderReader::State;
using test::Random;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}
std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// What became of `wire`, given to the reader in pieces of `piece` bytes.
struct Outcome {
  State state = State::kPartial;
  std::string addresses;  // "source>destination"; empty: none
  std::string error;
  std::string rest;  // of the client
  bool operator==(const Outcome&) const = default;
};
Outcome read_in_pieces(std::string_view wire, std::size_t piece) {
  ProxyHeaderReader reader;
  Outcome outcome;
  auto left = bytes_of(wire);
  while (!left.empty() && outcome.state == State::kPartial) {
    auto next = left.first(std::min(piece, left.size()));
    const std::size_t size = next.size();
    outcome.state = reader.add(next);
    left = left.subspan(size - next.size());
  }
  if (const auto& found = reader.addresses())
    outcome.addresses = found->source.to_string() + ">" + found->destination.to_string();
  outcome.error = reader.error();
  if (outcome.state == State::kWhole) outcome.rest = text_of(left);
  return outcome;
}
// The same for every piece, with nothing behind the header and with a client's bytes.
Outcome read(const std::string& wire) {
  const Outcome at_once = read_in_pieces(wire, wire.size());
  EXPECT_EQ(read_in_pieces(wire, 1), at_once);
  const std::string client = "\x16\x03\x01 and more";
  Outcome followed = read_in_pieces(wire + client, wire.size() + client.size());
  if (at_once.state == State::kWhole) {
    EXPECT_EQ(std::exchange(followed.rest, ""), client);
    EXPECT_EQ(followed, at_once);
  }
  return at_once;
}

std::string binary(unsigned command, unsigned family, const std::string& block) {
  std::string wire = text_of(kProxySignature);
  wire += static_cast<char>(command);
  wire += static_cast<char>(family);
  wire += static_cast<char>(block.size() >> 8);
  wire += static_cast<char>(block.size() & 0xff);
  return wire + block;
}
std::string tlv(unsigned type, const std::string& value) {
  return {std::string() + static_cast<char>(type) + static_cast<char>(value.size() >> 8) +
          static_cast<char>(value.size() & 0xff) + value};
}
// `wire` ends with a TLV of four bytes, which become its checksum, changed by `change`.
std::string summed(std::string wire, std::uint32_t change = 0) {
  const std::size_t at = wire.size() - 4;
  const std::uint32_t sum = proxy_checksum(bytes_of(wire), at) ^ change;
  for (std::size_t i = 0; i < 4; ++i) wire[at + i] = static_cast<char>(sum >> (24 - 8 * i) & 0xffU);
  return wire;
}

const std::string kIpv4Block = "\xc0\x00\x02\x01\xc6\x33\x64\x02\x01\x02\x01\xbb"s;
const std::string kIpv4Ends = "192.0.2.1:258>198.51.100.2:443";
const std::string kZeros4(4, '\0');

TEST(ProxyHeaderReader, ReadsLinesOfTcp) {
  EXPECT_EQ(read("PROXY TCP4 192.0.2.1 198.51.100.2 258 443\r\n"),
            (Outcome{State::kWhole, kIpv4Ends, "", ""}));
  EXPECT_EQ(read("PROXY TCP6 2001:DB8::1 ::ffff:192.0.2.1 0 65535\r\n").addresses,
            "[2001:db8::1]:0>[::ffff:192.0.2.1]:65535");
}

TEST(ProxyHeaderReader, KeepsTheSocketsAddressesWhereTheHeaderHasNone) {
  const Outcome kept{State::kWhole, "", "", ""};
  EXPECT_EQ(read("PROXY UNKNOWN\r\n"), kept);
  EXPECT_EQ(read("PROXY UNKNOWN ffff::1 anything \x01 at all\r\n"), kept);
  EXPECT_EQ(read("PROXY UNKNOWN " + std::string(91, 'x') + "\r\n"), kept) << "107 bytes";
  EXPECT_EQ(read(text_of(local_proxy_header())), kept);
  EXPECT_EQ(read(binary(0x20, 0x11, kIpv4Block)), kept) << "LOCAL";
  EXPECT_EQ(read(binary(0x20, 0xff, "anything")), kept);
  EXPECT_EQ(read(binary(0x20, 0x11, "short")), kept);
  EXPECT_EQ(read(binary(0x21, 0x00, "")), kept) << "UNSPEC";
  EXPECT_EQ(read(binary(0x21, 0x00, "any")), kept);
  EXPECT_EQ(read(binary(0x21, 0x12, kIpv4Block)), kept) << "UDP";
  EXPECT_EQ(read(binary(0x21, 0x10, kIpv4Block)), kept);
  EXPECT_EQ(read(binary(0x21, 0x31, std::string(216, 'u'))), kept) << "unix";
}

TEST(ProxyHeaderReader, ReadsBinaryHeadersAndPassesOverTlvs) {
  const Outcome found{State::kWhole, kIpv4Ends, "", ""};
  EXPECT_EQ(read(binary(0x21, 0x11, kIpv4Block)), found);
  EXPECT_EQ(read(binary(0x21, 0x11, kIpv4Block + tlv(0x02, "name") + tlv(0x04, ""))), found);
  EXPECT_EQ(read(summed(binary(0x21, 0x11, kIpv4Block + tlv(0x03, kZeros4)))), found);
  const std::string longest = tlv(0xE0, std::string(1024 - 16 - 12 - 3, 'x'));
  EXPECT_EQ(read(binary(0x21, 0x11, kIpv4Block + longest)), found);
  const std::string v6 =
      std::string(15, '\0') + "\x01" + std::string(15, '\0') + "\x02" + "\x00\x01\x00\x02"s;
  EXPECT_EQ(read(binary(0x21, 0x21, v6)).addresses, "[::1]:1>[::2]:2");
}

TEST(ProxyHeaderReader, RefusesOtherBytes) {
  for (const std::string& wire :
       {"\x16\x03\x01\x02\x00\x01"s, "GET / HTTP/1.1\r\n\r\n"s, "\0"s, "proxy TCP4"s, "PROXYTCP4"s,
        "PROXX"s, "PROXY\tTCP4"s, "\r\n\r\nx"s, "\r\n\r\n\0\r\nQUIT\r"s, " PROXY"s}) {
    EXPECT_EQ(read(wire).error, "not a PROXY header") << wire;
  }
}

TEST(ProxyHeaderReader, RefusesGarbageInLines) {
  for (const char* line : {"",
                           " ",
                           "TCP4",
                           "TCP5 1.2.3.4 1.2.3.4 1 2",
                           "tcp4 1.2.3.4 1.2.3.4 1 2",
                           "TCP4 1.2.3.4 1.2.3.4 1",
                           "TCP4 1.2.3.4 1.2.3.4 1 2 ",
                           "TCP4 1.2.3.4 1.2.3.4 1 2 3",
                           "TCP4  1.2.3.4 1.2.3.4 1 2",
                           "TCP4 1.2.3.4 1.2.3.4 1  2",
                           "TCP4 1.2.3.4 1.2.3.4 65536 2",
                           "TCP4 1.2.3.4 1.2.3.4 -1 2",
                           "TCP4 1.2.3.4 1.2.3.4 +1 2",
                           "TCP4 1.2.3.4 1.2.3.4 01 2",
                           "TCP4 1.2.3.4 1.2.3.4 1 0x2",
                           "TCP4 1.2.3 1.2.3.4 1 2",
                           "TCP4 1.2.3.04 1.2.3.4 1 2",
                           "TCP4 1.2.3.256 1.2.3.4 1 2",
                           "TCP4 ::1 ::1 1 2",
                           "TCP6 1.2.3.4 1.2.3.4 1 2",
                           "TCP6 ::1%lo ::1 1 2",
                           "TCP6 [::1] ::1 1 2",
                           "TCP6 1::2::3 ::1 1 2",
                           "UNKNOWNX",
                           "UDP4 1.2.3.4 1.2.3.4 1 2"}) {
    const Outcome outcome = read("PROXY " + std::string(line) + "\r\n");
    EXPECT_EQ(outcome.state, State::kInvalid) << line;
    EXPECT_FALSE(outcome.error.empty());
  }
  EXPECT_EQ(read("PROXY TCP4 1.2.3.4\0 1.2.3.4 1 2\r\n"s).state, State::kInvalid);
}

TEST(ProxyHeaderReader, RefusesLinesThatDoNotEndAsTheyShould) {
  const std::string line = "PROXY TCP4 192.0.2.1 198.51.100.2 258 443";
  for (const char* end : {"\n", "\r\r\n", "\r ", "\n\r\n"}) {
    EXPECT_EQ(read(line + end).error, "a PROXY line without CR and LF at its end") << end;
  }
  EXPECT_EQ(read("PROXY UNKNOWN " + std::string(93, 'x')).error,
            "a PROXY line of more than 107 bytes");
  EXPECT_EQ(read("PROXY UNKNOWN " + std::string(92, 'x') + "\r\n").error,
            "a PROXY line of more than 107 bytes");
}

TEST(ProxyHeaderReader, RefusesBinaryHeadersThatAreNot) {
  const std::string unknown = "a PROXY header of an unknown family or protocol";
  const std::string other = "a PROXY header of another version than 2, or of an unknown command";
  const std::string unended = "a PROXY header whose TLVs do not end where it ends";
  const std::string sum = "a PROXY header with a wrong checksum";
  const std::string short_of = "a PROXY header too short for its addresses";
  const std::pair<std::string, std::string> wrong[] = {
      {binary(0x11, 0x11, kIpv4Block), other},
      {binary(0x31, 0x11, kIpv4Block), other},
      {binary(0x22, 0x11, kIpv4Block), other},
      {binary(0x21, 0x41, kIpv4Block), unknown},
      {binary(0x21, 0x13, kIpv4Block), unknown},
      {binary(0x21, 0x11, kIpv4Block.substr(1)), short_of},
      {binary(0x21, 0x21, kIpv4Block), short_of},
      {binary(0x21, 0x31, kIpv4Block), short_of},
      {binary(0x21, 0x11, kIpv4Block + "\x02"), unended},
      {binary(0x21, 0x11, kIpv4Block + "\x02\x00\x05name"s), unended},
      {binary(0x21, 0x11, kIpv4Block + tlv(0x02, "name") + "\x04\x00"s), unended},
      {binary(0x21, 0x31, std::string(216, 'u') + "\x02"), unended},
      {summed(binary(0x21, 0x11, kIpv4Block + tlv(0x03, kZeros4)), 1), sum},
      {summed(binary(0x21, 0x00, tlv(0x03, kZeros4)), 1), sum},
      {summed(binary(0x20, 0x00, tlv(0x03, kZeros4)), 0x8000'0000), sum},
      {binary(0x21, 0x11, kIpv4Block + tlv(0x03, "")), sum},
      {binary(0x21, 0x11, kIpv4Block + tlv(0x03, "\0\0\0\0\0"s)), sum},
  };
  for (const auto& [wire, error] : wrong) {
    const Outcome outcome = read(wire);
    EXPECT_EQ(outcome.state, State::kInvalid) << error;
    EXPECT_EQ(outcome.error, error);
  }
  std::string twice =
      summed(binary(0x21, 0x11, kIpv4Block + tlv(0x03, kZeros4) + tlv(0x03, kZeros4)));
  EXPECT_EQ(read(twice).error, sum);
}

// As soon as its length is known, not when so much has come.
TEST(ProxyHeaderReader, RefusesBinaryHeadersThatAreTooLong) {
  for (const std::size_t size : {std::size_t{1024 - 16 + 1}, std::size_t{65535}}) {
    const std::string wire = binary(0x21, 0x11, std::string(size, 'x')).substr(0, kProxyFixedSize);
    EXPECT_EQ(read(wire).error, "a PROXY header of more than 1024 bytes");
  }
}

TEST(ProxyHeaderReader, TellsHeadersFromTls) {
  for (const std::string& begin : {"P"s, "PROXY"s, "PROXY TCP4 and more"s, "\r"s, "\r\n\r\n\0"s,
                                   text_of(local_proxy_header())}) {
    EXPECT_TRUE(begins_proxy_header(bytes_of(begin))) << begin;
  }
  for (const std::string& begin : {"\x16"s, "PUT / HTTP/1.1"s, "PROXYX"s, "\r\n\r\nGET"s, "\n"s}) {
    EXPECT_FALSE(begins_proxy_header(bytes_of(begin))) << begin;
  }
}

// ---- every header of ours, and what one changed byte of it may do

std::string random_text(Random& random, std::size_t most) {
  std::string text(random.up_to(most), ' ');
  for (char& c : text) c = static_cast<char>(random.below(256));
  return text;
}

iouring::SocketAddress random_address(Random& random, bool v6) {
  std::string ip;
  for (int i = 0; i < (v6 ? 8 : 4); ++i) {
    if (v6) {
      ip += (i == 0 ? "" : ":") + std::to_string(random.below(10'000));
    } else {
      ip += (i == 0 ? "" : ".") + std::to_string(random.below(256));
    }
  }
  if (v6) ip = "[" + ip + "]";
  return *iouring::SocketAddress::parse(ip + ":" + std::to_string(random.below(65'536)));
}

TEST(ProxyHeaderProperty, IsReadAsItWasWrittenAndNotOtherwise) {
  using enum ProxyTlv;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const bool v6 = random.one_in(2);
    std::string texts[7];
    for (std::string& text : texts) text = random_text(random, 100);
    ProxyRule rule{.tlvs = {kAuthority, kAlpn, kUniqueId, kCrc32c, kSsl, kIdentity}};
    random.shuffle(rule.tlvs);
    const iouring::SocketAddress source = random_address(random, v6);
    const iouring::SocketAddress destination = random_address(random, v6);
    const auto header = encode_proxy_header(rule, {.source = source,
                                                   .destination = destination,
                                                   .unique_id = texts[0],
                                                   .authority = texts[1],
                                                   .alpn = texts[2],
                                                   .tls_version = texts[3],
                                                   .cipher = texts[4],
                                                   .common_name = texts[5],
                                                   .identity = texts[6],
                                                   .resumed = random.one_in(2)});
    ASSERT_TRUE(header);
    std::string wire = text_of(*header);
    const Outcome whole = read(wire);
    ASSERT_EQ(whole.state, State::kWhole) << whole.error;
    EXPECT_EQ(whole.addresses, source.to_string() + ">" + destination.to_string());

    // The checksum sees every change, but for one that makes the header longer: that waits.
    const std::size_t at = random.below(wire.size());
    const char before = wire[at];
    wire[at] = static_cast<char>(wire[at] ^ (1 << random.below(8)));
    const Outcome changed = read_in_pieces(wire, wire.size());
    if (at == 14 || at == 15) {
      EXPECT_NE(changed.addresses, whole.addresses);
    } else {
      EXPECT_EQ(changed.state, State::kInvalid) << at;
    }
    wire[at] = before;
    EXPECT_EQ(read(wire), whole);
  }
}

}  // namespace
}  // namespace sallyport::gateway
