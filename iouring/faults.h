#pragma once
// Fault injection for tests: operations fail, transfer less than asked, or complete late. Only in
// builds with -DSALLYPORT_FAULTS.
#ifdef SALLYPORT_FAULTS
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include "iouring/ring.h"

namespace sallyport::iouring {

/// What is done to an operation.
struct Fault {
  enum class Kind : std::uint8_t { kError, kShort, kDelay };
  Kind kind = Kind::kError;
  unsigned value = 0;

  /// Completes with this errno. A no-op is submitted in its place, so that no byte is taken or
  /// sent.
  static Fault error(int error) { return {Kind::kError, static_cast<unsigned>(error)}; }
  /// Asks for at most so many bytes (recv, send, recvmsg and sendmsg without control data; other
  /// operations are not changed).
  static Fault short_count(unsigned bytes) { return {Kind::kShort, bytes}; }
  /// Delivers the completion so many loop iterations later.
  static Fault delay(unsigned iterations) { return {Kind::kDelay, iterations}; }
};

/// Rules for which operations get which fault. Equal seeds and equal submissions give equal faults.
/// Rules are tried in the order added; the first that matches applies. Closes of table slots and
/// cancels are never changed.
class FaultPlan {
 public:
  explicit FaultPlan(std::uint64_t seed = 1) : random_(seed) {}

  /// The n-th submission of this opcode from now on, counted from 1.
  FaultPlan& nth(Opcode opcode, std::uint64_t n, Fault fault);
  /// Each submission of this opcode with this probability, 0 to 1.
  FaultPlan& chance(Opcode opcode, double chance, Fault fault);

  /// Faults injected so far.
  [[nodiscard]] std::uint64_t injected() const noexcept { return injected_; }

 private:
  friend class Ring;
  struct Rule {
    Opcode opcode;
    std::uint64_t nth;  // 0: by chance
    double chance;
    Fault fault;
  };
  struct Pending;  // what is kept until the completion
  struct PendingDeleter {
    void operator()(Pending* pending) const noexcept;
  };

  /// Rewrites the entry.
  void on_submit(io_uring_sqe& sqe);
  /// Rewrites the result; returns by how many iterations to delay it.
  unsigned on_completion(std::uint64_t user_data, int& result, unsigned flags);

  std::mt19937_64 random_;
  std::vector<Rule> rules_;
  std::map<int, std::uint64_t> submissions_;
  std::map<std::uint64_t, std::unique_ptr<Pending, PendingDeleter>> pending_;
  std::uint64_t injected_ = 0;
};

}  // namespace sallyport::iouring
#endif
