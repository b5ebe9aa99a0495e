#pragma once
// The seam through which tests make operations fail, come short or come late. Only in builds with
// -DSALLYPORT_FAULTS.
#ifdef SALLYPORT_FAULTS
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include "iouring/ring.h"

namespace sallyport::iouring {

/// What happens to an operation instead of what it asked for.
struct Fault {
  enum class Kind : std::uint8_t { kError, kShort, kDelay };
  Kind kind = Kind::kError;
  unsigned value = 0;

  /// Completes with this errno and is never submitted, so that no byte is lost or sent.
  static Fault error(int error) { return {Kind::kError, static_cast<unsigned>(error)}; }
  /// At most so many bytes are asked for (recv, send, recvmsg and sendmsg without control data;
  /// others are left alone).
  static Fault short_count(unsigned bytes) { return {Kind::kShort, bytes}; }
  /// The completion is held back for so many turns.
  static Fault delay(unsigned turns) { return {Kind::kDelay, turns}; }
};

/// Which operations. Equal seeds and equal submissions give equal faults. Rules are tried in the
/// order added; the first that fits decides. Detached closes and cancels are never touched.
class FaultPlan {
 public:
  explicit FaultPlan(std::uint64_t seed = 1) : random_(seed) {}

  /// The n-th submission of this opcode from now on, counted from 1.
  FaultPlan& nth(Opcode opcode, std::uint64_t n, Fault fault);
  /// Each submission of this opcode with this chance, 0 to 1.
  FaultPlan& chance(Opcode opcode, double chance, Fault fault);

  /// Faults that were injected.
  [[nodiscard]] std::uint64_t injected() const noexcept { return injected_; }

 private:
  friend class Ring;
  struct Rule {
    Opcode opcode;
    std::uint64_t nth;  // 0: by chance
    double chance;
    Fault fault;
  };
  struct Pending;  // what must live until the completion
  struct PendingDeleter {
    void operator()(Pending* pending) const noexcept;
  };

  /// Rewrites the entry.
  void on_submit(io_uring_sqe& sqe);
  /// Rewrites the result; returns for how many turns to hold it.
  unsigned on_completion(std::uint64_t user_data, int& result, unsigned flags);

  std::mt19937_64 random_;
  std::vector<Rule> rules_;
  std::map<int, std::uint64_t> submissions_;
  std::map<std::uint64_t, std::unique_ptr<Pending, PendingDeleter>> pending_;
  std::uint64_t injected_ = 0;
};

}  // namespace sallyport::iouring
#endif
