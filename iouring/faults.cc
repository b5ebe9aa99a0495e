#include "iouring/faults.h"

#ifdef SALLYPORT_FAULTS
#include <liburing.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>

namespace sallyport::iouring {

struct FaultPlan::Pending {
  int error = 0;
  unsigned delay = 0;
  msghdr message{};  // the shortened copy of the caller's
  std::vector<iovec> pieces;
  msghdr* original = nullptr;
};

void FaultPlan::PendingDeleter::operator()(Pending* pending) const noexcept {
  delete pending;
}

FaultPlan& FaultPlan::nth(Opcode opcode, std::uint64_t n, Fault fault) {
  rules_.push_back({opcode, submissions_[static_cast<int>(opcode)] + n, 0, fault});
  return *this;
}

FaultPlan& FaultPlan::chance(Opcode opcode, double chance, Fault fault) {
  rules_.push_back({opcode, 0, chance, fault});
  return *this;
}

void FaultPlan::on_submit(io_uring_sqe& sqe) {
  const std::uint64_t count = ++submissions_[sqe.opcode];
  const auto rule = std::find_if(rules_.begin(), rules_.end(), [&](const Rule& candidate) {
    if (static_cast<int>(candidate.opcode) != sqe.opcode) return false;
    if (candidate.nth != 0) return candidate.nth == count;
    return std::uniform_real_distribution<double>(0, 1)(random_) < candidate.chance;
  });
  if (rule == rules_.end()) return;

  std::unique_ptr<Pending, PendingDeleter> pending(new Pending());
  const unsigned value = rule->fault.value;
  switch (rule->fault.kind) {
    case Fault::Kind::kError: {
      pending->error = static_cast<int>(value);
      const std::uint64_t user_data = sqe.user_data;
      io_uring_prep_nop(&sqe);
      sqe.user_data = user_data;
      break;
    }
    case Fault::Kind::kDelay:
      pending->delay = value;
      break;
    case Fault::Kind::kShort:
      switch (static_cast<Opcode>(sqe.opcode)) {
        case Opcode::kRecv:
        case Opcode::kSend:
          sqe.len = std::min<unsigned>(sqe.len, value);
          ++injected_;
          return;
        case Opcode::kSendMsg:
        case Opcode::kRecvMsg: {
          pending->original = reinterpret_cast<msghdr*>(sqe.addr);
          // Bytes with control data (a TLS record's type, descriptors) are not split.
          if (pending->original->msg_controllen != 0) return;
          pending->message = *pending->original;
          std::size_t left = value;
          for (std::size_t i = 0; i < pending->message.msg_iovlen && left > 0; ++i) {
            iovec piece = pending->message.msg_iov[i];
            piece.iov_len = std::min(piece.iov_len, left);
            left -= piece.iov_len;
            pending->pieces.push_back(piece);
          }
          pending->message.msg_iov = pending->pieces.data();
          pending->message.msg_iovlen = pending->pieces.size();
          sqe.addr = reinterpret_cast<std::uint64_t>(&pending->message);
          break;
        }
        default:
          return;
      }
  }
  ++injected_;
  pending_[sqe.user_data] = std::move(pending);
}

unsigned FaultPlan::on_completion(std::uint64_t user_data, int& result, unsigned flags) {
  const auto found = pending_.find(user_data);
  if (found == pending_.end()) return 0;
  Pending& pending = *found->second;
  if (pending.error != 0) result = -pending.error;
  if (pending.original != nullptr) {  // recvmsg(2) reports these beside the bytes
    pending.original->msg_namelen = pending.message.msg_namelen;
    pending.original->msg_controllen = pending.message.msg_controllen;
    pending.original->msg_flags = pending.message.msg_flags;
  }
  const unsigned delay = pending.delay;
  if ((flags & IORING_CQE_F_MORE) == 0) pending_.erase(found);
  return delay;
}

}  // namespace sallyport::iouring
#endif
