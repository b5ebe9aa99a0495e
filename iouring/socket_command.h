#pragma once
// Socket options through the ring: Linux 6.7, and so on every kernel with a table (6.8).
// liburing 2.3 lacks them.
#include <liburing.h>

#include <cstdint>
#include <cstring>

#include "iouring/ring.h"

namespace sallyport::iouring {

constexpr std::uint32_t kGetSockOpt = 2;  // SOCKET_URING_OP_GETSOCKOPT: SOL_SOCKET only
constexpr std::uint32_t kSetSockOpt = 3;  // SOCKET_URING_OP_SETSOCKOPT

/// Fills a cleared entry except the descriptor. The kernel reads or writes `value` until
/// completion.
inline void prepare_socket_option(io_uring_sqe& sqe, std::uint32_t command, int level, int name,
                                  const void* value, std::uint32_t size) noexcept {
  sqe.opcode = static_cast<std::uint8_t>(Opcode::kUringCmd);
  sqe.cmd_op = command;
  // io_uring_sqe's level and optname share addr, optlen shares file_index, optval shares addr3.
  const std::uint32_t level_and_name[2] = {static_cast<std::uint32_t>(level),
                                           static_cast<std::uint32_t>(name)};
  std::memcpy(&sqe.addr, level_and_name, sizeof sqe.addr);
  sqe.file_index = size;
  sqe.addr3 = reinterpret_cast<std::uint64_t>(value);
}

}  // namespace sallyport::iouring
