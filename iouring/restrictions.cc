#include "iouring/restrictions.h"

#include <liburing.h>

#include <array>

namespace sallyport::iouring {
namespace {

constexpr auto kWait = RingUse::kWait;
constexpr auto kConnect = RingUse::kConnect;
constexpr auto kServe = RingUse::kServe;

// An opcode that is missing here fails with EACCES wherever it is submitted.
constexpr std::array kOpcodes = {
    OpcodeFacts{Opcode::kSendMsgZeroCopy, "IORING_OP_SENDMSG_ZC", std::nullopt,
                "the mark of Linux 6.1, the oldest kernel supported"},
    OpcodeFacts{Opcode::kPollAdd, "IORING_OP_POLL_ADD", kWait, "messages between threads"},
    OpcodeFacts{Opcode::kAsyncCancel, "IORING_OP_ASYNC_CANCEL", kWait, "deadlines"},
    OpcodeFacts{Opcode::kConnect, "IORING_OP_CONNECT", kConnect, "connecting to backends"},
    OpcodeFacts{Opcode::kRecv, "IORING_OP_RECV", kConnect, "receiving"},
    OpcodeFacts{Opcode::kSend, "IORING_OP_SEND", kConnect, "sending"},
    OpcodeFacts{Opcode::kRecvMsg, "IORING_OP_RECVMSG", kConnect, "receiving with control data"},
    OpcodeFacts{Opcode::kSendMsg, "IORING_OP_SENDMSG", kConnect, "sending with control data"},
    OpcodeFacts{Opcode::kClose, "IORING_OP_CLOSE", kConnect, "closing registered descriptors"},
    OpcodeFacts{Opcode::kFilesUpdate, "IORING_OP_FILES_UPDATE", kConnect, "registered descriptors"},
    OpcodeFacts{Opcode::kShutdown, "IORING_OP_SHUTDOWN", kConnect, nullptr},
    OpcodeFacts{Opcode::kUringCmd, "IORING_OP_URING_CMD", kConnect, nullptr},
    OpcodeFacts{Opcode::kFixedFdInstall, "IORING_OP_FIXED_FD_INSTALL", kConnect, nullptr},
    OpcodeFacts{Opcode::kAccept, "IORING_OP_ACCEPT", kServe, "accepting connections"},
    OpcodeFacts{Opcode::kTimeout, "IORING_OP_TIMEOUT", kServe, "short pauses"},
};

io_uring_restriction allow_opcode(std::uint8_t opcode) {
  io_uring_restriction allowed{};
  allowed.opcode = IORING_RESTRICTION_SQE_OP;
  allowed.sqe_op = opcode;
  return allowed;
}

io_uring_restriction allow_flags(unsigned flags) {
  io_uring_restriction allowed{};
  allowed.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
  allowed.sqe_flags = static_cast<std::uint8_t>(flags);
  return allowed;
}

io_uring_restriction allow_register(unsigned operation) {
  io_uring_restriction allowed{};
  allowed.opcode = IORING_RESTRICTION_REGISTER_OP;
  allowed.register_op = static_cast<std::uint8_t>(operation);
  return allowed;
}

}  // namespace

std::span<const OpcodeFacts> opcode_table() noexcept {
  return kOpcodes;
}

std::vector<io_uring_restriction> restrictions(RingUse use) {
  // The run loop registers the ring's own descriptor with its thread.
  std::vector<io_uring_restriction> all{allow_register(IORING_REGISTER_RING_FDS),
                                        allow_register(IORING_UNREGISTER_RING_FDS)};
  unsigned flags = IOSQE_CQE_SKIP_SUCCESS;
  if (use >= kConnect) {
    flags |= IOSQE_FIXED_FILE | IOSQE_IO_HARDLINK | IOSQE_BUFFER_SELECT;
    all.push_back(allow_register(IORING_UNREGISTER_PBUF_RING));
  }
  all.push_back(allow_flags(flags));
  for (const OpcodeFacts& each : kOpcodes) {
    if (each.use && *each.use <= use)
      all.push_back(allow_opcode(static_cast<std::uint8_t>(each.opcode)));
  }
#ifdef SALLYPORT_FAULTS
  all.push_back(allow_opcode(IORING_OP_NOP));  // stands for an operation that is made to fail
#endif
  return all;
}

}  // namespace sallyport::iouring
