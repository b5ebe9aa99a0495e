// TLS 1.2 behind its handshake, in userspace and in the kernel, facing a peer that the test plays
// by hand (RFC 5246 6, 7.2).
#include "tests/ktls/records/kernel_fixture.h"

namespace sallyport::ktls {
namespace {

using iouring::Block;
using iouring::Task;
using testing::append;
using testing::Bytes;
using testing::close_it;
using testing::from_hex;
using testing::KernelFixture;
using testing::Kind;
using testing::Layer;
using testing::random_bytes;
using testing::ScriptedPeer;
using testing::send_and_expect;
using testing::send_one;
using testing::Shard;
using testing::Story;
using testing::Words;

struct Case {
  RecordModel model;
  CipherSuite suite;
};

class Tls12Records : public KernelFixture, public ::testing::WithParamInterface<Case> {
 protected:
  void SetUp() override {
    if (in_kernel()) KernelFixture::SetUp();
  }
  void TearDown() override {
    if (in_kernel()) KernelFixture::TearDown();
  }
  Layer hand_over(Layer userspace, Role role) override {
    return in_kernel() ? KernelFixture::hand_over(std::move(userspace), role)
                       : std::move(userspace);
  }
  bool in_kernel() const { return GetParam().model == RecordModel::kKernel; }
  /// As after a handshake: a Finished is behind each end.
  static SessionState state() {
    SessionState state = testing::session_of(GetParam().suite, 7, RecordVersion::kTls12);
    state.rx.rec_seq = state.tx.rec_seq = 1;
    return state;
  }
  void connect(Role role = Role::kServer) {
    KernelFixture::connect({.leftover = {}, .role = role, .state = state()});
  }
};

TEST_P(Tls12Records, DeliversDataGluedToCloseNotifyAndIgnoresWhatFollows) {
  connect();
  const Bytes content = random_bytes(16384, 6);
  const Story story = hear({peer_->data(content), peer_->close_notify(), peer_->data(content)});
  EXPECT_EQ(story.data, content);
  EXPECT_EQ(story.end, Kind::kCloseNotify);
  shard_.ring->run(send_one(*layer_, 40'000));
  shard_.ring->run(close_it(*layer_));
  const Words words = last_words();
  EXPECT_EQ(words.front(), "data:16384");
  EXPECT_EQ(words.back(), "alert:0");
}

TEST_P(Tls12Records, DeliversWhatTheHandshakeReadAheadCutAtEveryByte) {
  const Bytes content = random_bytes(20, 1);
  std::size_t size = 1;
  for (std::size_t cut = 0; cut <= size; ++cut) {
    ScriptedPeer peer(shard_, testing::mirrored(state()));
    Bytes stream = peer.data(content);
    append(stream, peer.alert(AlertDescription::kUserCanceled, AlertLevel::kWarning));
    append(stream, peer.data(content));
    append(stream, peer.close_notify());
    size = stream.size();
    const auto at = stream.begin() + static_cast<long>(cut);
    KernelFixture::connect({.leftover = Bytes(stream.begin(), at), .state = state()});
    const Story story = hear({Bytes(at, stream.end())});
    EXPECT_EQ(story.data.size(), 2 * content.size()) << cut;
    EXPECT_EQ(story.end, Kind::kCloseNotify) << cut;
  }
  shard_.expect_idle();
}

TEST_P(Tls12Records, TellsATruncationFromACleanEnd) {
  const Bytes content = random_bytes(100, 7);
  for (const std::size_t missing : {0, 1, 50, 116, 117}) {
    connect();
    const Bytes whole = peer_->data(content);
    Bytes cut = peer_->data(content);
    cut.resize(missing == 0 ? 0 : cut.size() - missing);
    const Story story = hear({whole, cut});
    EXPECT_EQ(story.data, content);
    EXPECT_EQ(story.end, Kind::kTruncated) << missing << testing::to_string(story.end);
  }
}

/// RFC 5246 6.2.1 allows them, as a countermeasure to traffic analysis.
TEST_P(Tls12Records, PassesEmptyRecordsOver) {
  connect();
  const Bytes content = random_bytes(500, 11);
  for (int i = 0; i < 32; ++i) put(peer_->data({}));
  put(peer_->data(content));
  for (int i = 0; i < 10; ++i) put(peer_->data({}));
  const Story story = hear({peer_->close_notify()});
  EXPECT_EQ(story.data, content);
  EXPECT_EQ(story.end, Kind::kCloseNotify);
}

TEST_P(Tls12Records, PassesWarningsOverButNoFloodOfThem) {
  constexpr AlertDescription kWarnings[] = {
      AlertDescription::kUserCanceled, AlertDescription::kNoRenegotiation,
      AlertDescription::kBadCertificate, static_cast<AlertDescription>(200)};
  connect();
  const Bytes content = random_bytes(10, 8);
  for (const AlertDescription warning : kWarnings) put(peer_->alert(warning, AlertLevel::kWarning));
  put(peer_->data(content));
  const Story story = hear({peer_->alert(AlertDescription::kCloseNotify, AlertLevel::kWarning)});
  EXPECT_EQ(story.data, content);
  EXPECT_EQ(story.end, Kind::kCloseNotify);

  connect();
  for (int i = 0; i < 10; ++i) put(peer_->alert(kWarnings[0], AlertLevel::kWarning));
  expect_failure(hear(), RecordFailure::kUnexpectedMessage);
  EXPECT_EQ(last_words(), Words{"alert:10"});
}

TEST_P(Tls12Records, ReportsWhateverAlertIsFatalAndSendsNothingAfterIt) {
  for (const int description : {10, 20, 40, 80, 90, 100, 200}) {
    connect();
    const Bytes content = random_bytes(10, 9);
    const Story story =
        hear({peer_->data(content), peer_->alert(static_cast<AlertDescription>(description))});
    EXPECT_EQ(story.data, content);
    expect_failure(story, RecordFailure::kAlertReceived);
    EXPECT_EQ(static_cast<int>(story.error.alert), description);
    shard_.ring->run(send_and_expect(*layer_, RecordFailure::kPipe));
    EXPECT_EQ(last_words(), Words{}) << "an alert must not be answered by an alert";
  }
}

const Bytes kClientHello = from_hex("01 000002 0303");

struct Offence {
  const char* what;
  Bytes (*record)(ScriptedPeer&);
  RecordFailure failure;
};

template <std::size_t kAt, int kValue>
Bytes with_byte(ScriptedPeer& peer) {
  Bytes record = peer.data(Bytes(2));
  record[kAt] ^= std::byte{kValue};
  return record;
}
template <int kType, std::size_t kSize>
Bytes of_type(ScriptedPeer& peer) {
  return peer.seal(static_cast<ContentType>(kType), Bytes(kSize));
}

TEST_P(Tls12Records, AnswersEachOffenceWithItsAlert) {
  using P = ScriptedPeer&;
  constexpr auto kBadMac = RecordFailure::kBadRecordMac;
  constexpr auto kUnexpected = RecordFailure::kUnexpectedMessage;
  const Offence offences[] = {
      {"flipped type", with_byte < 0, 23 ^ 21 >, kBadMac},
      {"flipped version", with_byte<2, 1>, kBadMac},
      {"flipped nonce or ciphertext", with_byte<5, 1>, kBadMac},
      {"flipped tag", with_byte<15, 0x80>, kBadMac},
      {"no room for a tag",
       [](P) { return from_hex("17 0303 000f 000102030405060708090a0b0c0d0e"); }, kBadMac},
      {"ciphertext too long", [](P) { return from_hex("17 0303 4019"); },
       RecordFailure::kRecordOverflow},
      {"plaintext alert", [](P) { return from_hex("15 0303 0002 0100"); }, kBadMac},
      {"plaintext ChangeCipherSpec", [](P) { return from_hex("14 0303 0001 01"); }, kBadMac},
      {"ChangeCipherSpec", of_type<20, 1>, kUnexpected},
      {"type of no protocol", of_type<24, 5>, kUnexpected},
      {"empty alert", of_type<21, 0>, kUnexpected},
      {"alert of three bytes", of_type<21, 3>, RecordFailure::kDecodeError},
      {"alert of no level", of_type<21, 2>, RecordFailure::kIllegalParameter},
      {"empty handshake record", of_type<22, 0>, kUnexpected},
      {"HelloRequest from a client", of_type<22, 4>, kUnexpected},
      {"KeyUpdate",
       [](P peer) { return peer.seal(ContentType::kHandshake, from_hex("18 000001 00")); },
       kUnexpected},
      {"ClientHello too long",
       [](P peer) { return peer.seal(ContentType::kHandshake, from_hex("01 ffffff")); },
       RecordFailure::kDecodeError},
      {"ClientHello again and again",
       [](P peer) {
         Bytes hellos;
         for (int i = 0; i < 5; ++i) append(hellos, kClientHello);
         return peer.seal(ContentType::kHandshake, hellos);
       },
       RecordFailure::kRenegotiation},
  };
  tampered_ = true;
  for (const Offence& offence : offences) {
    SCOPED_TRACE(offence.what);
    connect();
    const Bytes content = random_bytes(100, 10);
    put(peer_->data(content));
    put(offence.record(*peer_));
    put(Bytes(100));
    const Story story = hear();
    EXPECT_EQ(story.data, content);
    expect_answered(story, offence.failure);
  }
  shard_.expect_idle();
}

/// RFC 5246 7.2.2: no_renegotiation is always a warning, and the connection goes on.
TEST_P(Tls12Records, DeclinesAnotherHandshakeAndGoesOn) {
  connect();
  const Bytes before = random_bytes(100, 1);
  const Bytes behind = random_bytes(100, 2);
  const std::span hello(kClientHello);
  put(peer_->data(before));
  put(peer_->seal(ContentType::kHandshake, hello));
  put(peer_->data(behind));
  put(peer_->seal(ContentType::kHandshake, hello.first(3)));
  put(peer_->seal(ContentType::kHandshake, hello.subspan(3)));
  const Story story = hear({peer_->alert(AlertDescription::kCloseNotify, AlertLevel::kWarning)});
  Bytes expected = before;
  append(expected, behind);
  EXPECT_EQ(story.data, expected);
  EXPECT_EQ(story.end, Kind::kCloseNotify) << to_string(story.error.failure);
  shard_.ring->run(send_one(*layer_, 20));
  const Words words = last_words();
  ASSERT_GE(words.size(), 2U);
  EXPECT_EQ(words.front(), "warning:100");
  EXPECT_EQ(words.back(), "data:20");
}

TEST_P(Tls12Records, DeclinesAHelloRequestWhenItIsTheClient) {
  connect(Role::kClient);
  put(peer_->seal(ContentType::kHandshake, from_hex("00 000000")));
  const Story story = hear({peer_->alert(AlertDescription::kCloseNotify, AlertLevel::kWarning)});
  EXPECT_EQ(story.end, Kind::kCloseNotify);
  EXPECT_EQ(last_words(), Words{"warning:100"});
}

Task<void> send_spans(RecordLayer& layer, std::span<const std::byte> data, Shard& shard) {
  Block block = shard.blocks.acquire();
  std::ranges::copy(data, block.data() + 64);
  auto* const spans = new (block.data()) iovec[2];
  spans[0] = {block.data() + 64, 100};
  spans[1] = {block.data() + 164, data.size() - 100};
  const auto sent = co_await layer.send(Chunk(std::move(block), std::span(spans, 2)));
  EXPECT_TRUE(sent);
}

/// RFC 6066 4. In the kernel no send may be larger.
TEST_P(Tls12Records, SendsNoLargerRecordThanThePeerAskedFor) {
  SessionState limited = state();
  limited.max_fragment = 512;
  KernelFixture::connect({.leftover = {}, .state = limited});
  if (const auto exported = layer_->export_state()) EXPECT_EQ(exported->max_fragment, 512);
  shard_.ring->run(send_one(*layer_, 1300));
  shard_.ring->run(send_spans(*layer_, random_bytes(700, 1), shard_));
  std::size_t bytes = 0;
  for (const std::string& word : last_words()) {
    const std::size_t size = std::stoul(word.substr(word.find(':') + 1));
    EXPECT_LE(size, 512U);
    bytes += size;
  }
  EXPECT_EQ(bytes, 2000U);
}

/// RFC 9325 4.4: there is no KeyUpdate that would give it another key.
TEST_P(Tls12Records, EndsWhenItsKeyIsUsedUp) {
  SessionState late = state();
  late.tx.rec_seq = record_limit(late.suite) - 2;
  KernelFixture::connect({.leftover = {}, .state = late});
  shard_.ring->run(send_one(*layer_, 1));
  shard_.ring->run(send_one(*layer_, 2));
  shard_.ring->run(send_and_expect(*layer_, RecordFailure::kSequenceExhausted));
  shard_.ring->run(send_and_expect(*layer_, RecordFailure::kPipe));
  EXPECT_EQ(last_words(), (Words{"data:1", "data:2", "alert:80"}));
}

std::vector<Case> every_case() {
  std::vector<Case> cases;
  for (const RecordModel model : {RecordModel::kUserspace, RecordModel::kKernel}) {
    for (const CipherSuite suite : testing::kSuites) cases.push_back({model, suite});
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Each, Tls12Records, ::testing::ValuesIn(every_case()),
                         [](const auto& info) {
                           return std::string(to_string(info.param.model)) + "_" +
                                  std::string(name(info.param.suite)).substr(4);
                         });

}  // namespace
}  // namespace sallyport::ktls
