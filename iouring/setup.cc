// Setup of a ring: flags, probes by name, and errors that an operator can act on.
#include <fcntl.h>
#include <liburing.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <bitset>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "iouring/file_descriptor.h"
#include "iouring/restrictions.h"
#include "iouring/ring.h"

namespace sallyport::iouring {

namespace {

struct NeededFeature {
  unsigned bit;
  const char* name;
};

constexpr std::array kNeededFeatures = {
    NeededFeature{IORING_FEAT_NODROP, "IORING_FEAT_NODROP"},
    NeededFeature{IORING_FEAT_FAST_POLL, "IORING_FEAT_FAST_POLL"},
    NeededFeature{IORING_FEAT_EXT_ARG, "IORING_FEAT_EXT_ARG"},
    NeededFeature{IORING_FEAT_CQE_SKIP, "IORING_FEAT_CQE_SKIP"},
};

// The value of kernel.io_uring_disabled (Linux 6.6): 0 allows io_uring to all processes, 1 to a
// group, 2 to none; -1 unknown.
int disabled_by_sysctl() {
  const FileDescriptor file(::open("/proc/sys/kernel/io_uring_disabled", O_RDONLY | O_CLOEXEC));
  char digit = 0;
  if (!file || ::read(file.get(), &digit, 1) != 1) return -1;
  return digit - '0';
}

SetupError explain(int error) {
  switch (error) {
    case EPERM:
      if (disabled_by_sysctl() == 2)
        return {
            "io_uring is switched off on this machine: sysctl kernel.io_uring_disabled is 2; "
            "set it to 0",
            error};
      if (disabled_by_sysctl() == 1)
        return {
            "io_uring is reserved for a group: sysctl kernel.io_uring_disabled is 1; set it to "
            "0, or add this user to the group in kernel.io_uring_group",
            error};
      return {
          "io_uring_setup is forbidden (EPERM): most likely a seccomp filter; Docker's and "
          "containerd's default profiles refuse io_uring, give the container one that allows "
          "io_uring_setup, io_uring_enter and io_uring_register",
          error};
    case ENOSYS:
      return {
          "io_uring_setup is missing (ENOSYS): the kernel was built without io_uring, or a "
          "sandbox hides it; Linux 6.1 is needed",
          error};
    case ENOMEM:
      return {
          "io_uring_setup: no memory for the queues (ENOMEM); raise the memory limit of the "
          "service or RLIMIT_MEMLOCK",
          error};
    case EMFILE:
    case ENFILE:
      return {std::string("io_uring_setup: no descriptor left (") + errno_name(error) +
                  "); raise RLIMIT_NOFILE",
              error};
    default:
      return {std::string("io_uring_setup failed: ") + errno_name(error), error};
  }
}

// Unlike liburing's io_uring_register_files_sparse(), this does not raise RLIMIT_NOFILE, which is
// the operator's.
int register_sparse_table(int ring_fd, unsigned slots) {
  struct io_uring_rsrc_register table = {};
  table.nr = slots;
  table.flags = IORING_RSRC_REGISTER_SPARSE;
  const long done = ::syscall(__NR_io_uring_register, ring_fd, IORING_REGISTER_FILES2, &table,
                              static_cast<unsigned>(sizeof table));
  return done < 0 ? -errno : 0;
}

// io_uring_register_restrictions() is declared by liburing 2.3, but not exported.
// The kernel takes no list with an opcode that it does not know.
int restrict_ring(int ring_fd, RingUse use, const std::bitset<256>& known) {
  std::vector<io_uring_restriction> allowed = restrictions(use);
  std::erase_if(allowed, [&known](const io_uring_restriction& each) {
    return each.opcode == IORING_RESTRICTION_SQE_OP && !known[each.sqe_op];
  });
  const long done = ::syscall(__NR_io_uring_register, ring_fd, IORING_REGISTER_RESTRICTIONS,
                              allowed.data(), static_cast<unsigned>(allowed.size()));
  return done < 0 ? -errno : 0;
}

}  // namespace

std::expected<void, SetupError> Ring::set_up(const RingOptions& options) {
  // Best first. DEFER_TASKRUN: completion work does not interrupt running code, but runs when the
  // loop asks for it. R_DISABLED lets one thread create the ring and another own it.
  constexpr unsigned kAlways = IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
  // Busy polling looks at a flag that says whether there is completion work.
  const unsigned taskrun_flag = options.busy_poll.count() > 0 ? IORING_SETUP_TASKRUN_FLAG : 0U;
  const std::array flag_sets = {
      kAlways | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SINGLE_ISSUER |
          IORING_SETUP_DEFER_TASKRUN | taskrun_flag,
      kAlways | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | taskrun_flag,
      kAlways,
  };
  int failed = -EINVAL;
  for (const unsigned flags : flag_sets) {
    struct io_uring_params params = {};
    params.flags = flags;
    params.cq_entries = options.completion_entries;
    failed = io_uring_queue_init_params(options.entries, uring_.get(), &params);
    if (failed != -EINVAL) break;
  }
  if (failed < 0) return std::unexpected(explain(-failed));
  set_up_ = true;

  for (const NeededFeature& feature : kNeededFeatures)
    if ((uring_->features & feature.bit) == 0)
      return std::unexpected(SetupError{std::string("this kernel's io_uring lacks ") +
                                        feature.name + "; Linux 6.1 is needed"});

  struct io_uring_probe* probe = io_uring_get_probe_ring(uring_.get());
  if (probe == nullptr)
    return std::unexpected(
        SetupError{"this kernel's io_uring cannot be probed; Linux 6.1 is needed"});
  for (unsigned op = 0; op <= probe->last_op && op < opcodes_.size(); ++op)
    opcodes_[op] = (probe->ops[op].flags & IO_URING_OP_SUPPORTED) != 0;
  io_uring_free_probe(probe);
  for (const OpcodeFacts& each : opcode_table())
    if (each.needed_for != nullptr && !has(each.opcode))
      return std::unexpected(SetupError{std::string("this kernel's io_uring lacks ") + each.name +
                                        " (" + each.needed_for + "); Linux 6.1 is needed"});

  // shutdown(2) needs a descriptor installed from the table; where that is impossible there is no
  // table.
  if (options.registered_descriptors > 0 && has(Opcode::kFixedFdInstall)) {
    const int registered = register_sparse_table(uring_->ring_fd, options.registered_descriptors);
    if (registered == -EMFILE) {
      struct rlimit limit = {};
      ::getrlimit(RLIMIT_NOFILE, &limit);
      return std::unexpected(
          SetupError{"a table of " + std::to_string(options.registered_descriptors) +
                         " registered descriptors is more than the soft limit of open files, " +
                         std::to_string(limit.rlim_cur) + " (RLIMIT_NOFILE)",
                     EMFILE});
    }
    if (registered < 0)
      return std::unexpected(SetupError{
          std::string("registering the descriptor table failed: ") + errno_name(registered),
          -registered});
    table_size_ = options.registered_descriptors;
  }

  // In force as soon as the ring is enabled.
  if (const int restricted = restrict_ring(uring_->ring_fd, options.use, opcodes_); restricted < 0)
    return std::unexpected(SetupError{
        std::string("restricting the ring failed: ") + errno_name(restricted), -restricted});
  return {};
}

}  // namespace sallyport::iouring
