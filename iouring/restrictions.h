#pragma once
// What a ring may do: the kernel refuses it the rest from the moment when it runs.
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

struct io_uring_restriction;

namespace sallyport::iouring {

/// The opcodes in use (io_uring_enter(2)), by their kernel numbers.
enum class Opcode : std::uint8_t {
  kPollAdd = 6,
  kSendMsg = 9,
  kRecvMsg = 10,
  kTimeout = 11,
  kAccept = 13,
  kAsyncCancel = 14,
  kConnect = 16,
  kClose = 19,
  kFilesUpdate = 20,
  kSend = 26,
  kRecv = 27,
  kShutdown = 34,
  kUringCmd = 46,
  kSendMsgZeroCopy = 48,
  kFixedFdInstall = 54,  // Linux 6.8
};

/// What a ring is for. Each may do what those before it may, and more.
enum class RingUse : std::uint8_t {
  kWait,     ///< for descriptors to become ready, and for time to pass
  kConnect,  ///< and connect, send and receive
  kServe,    ///< and accept, and pause for less than a tick
};

/// What is known of an opcode.
struct OpcodeFacts {
  Opcode opcode;
  const char* name;            ///< of the kernel
  std::optional<RingUse> use;  ///< the least that submits it; none: only looked for
  const char* needed_for;      ///< null where it is done without
};

/// All of them, each once.
[[nodiscard]] std::span<const OpcodeFacts> opcode_table() noexcept;

/// The list for IORING_REGISTER_RESTRICTIONS (io_uring_register(2)): the opcodes and sqe flags that
/// rings of this use submit, and what is registered with them once they run. A buffer ring is
/// registered before, since none may be later.
[[nodiscard]] std::vector<io_uring_restriction> restrictions(RingUse use);

}  // namespace sallyport::iouring
