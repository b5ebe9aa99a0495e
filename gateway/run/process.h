// The process and the system: descriptors, CPUs, an unprivileged user.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <expected>
#include <string>
#include <vector>

namespace sallyport::gateway {

/// Opens the null device for each standard descriptor that is closed: else the next files and
/// sockets would take their numbers, and the logs be written into them. Before anything is opened.
/// False where there is no null device.
[[nodiscard]] bool open_standard_descriptors();

/// Raises the soft limit of descriptors to the hard one; returns what it is then.
std::uint64_t raise_descriptor_limit();

/// CPUs of the affinity mask that the process was started with, in order.
std::vector<int> usable_cpus();

/// From now on the calling thread has a third of the weight, for the scheduler, of threads that
/// were started before (nice, by 5). Those that it starts inherit that.
void give_way_to_earlier_threads();

/// Keys must not reach a core file, nor a tracer of the same user.
void forbid_core_dumps();

/// No program that this process starts, and no file that it executes, may gain privileges. Before
/// the first thread: a thread inherits it from the one that starts it.
void forbid_new_privileges();

/// A user of the system.
struct UserId {
  uid_t user = 0;
  gid_t group = 0;  ///< its primary one
};
/// Looks `name` up. The error names it.
std::expected<UserId, std::string> find_user(const std::string& name);

/// Gives up root for the user `name` and its groups, for good; keeps the right to come back from
/// SCHED_IDLE. Nothing happens where that is the user already. The error names what failed.
std::expected<void, std::string> become_user(const std::string& name);

/// For --check and --explain: reads the files as --user from now on, as a start does; empty: as the
/// user that it is. Only root can become another user; any other one is told, on stderr, as which
/// it judges. The error is what is wrong with --user.
std::expected<void, std::string> become_reader(const std::string& user);

/// Whether the kernel gives connections that a closing listener has not accepted to another
/// listener of the address: net.ipv4.tcp_migrate_req of this network namespace, since Linux 5.14.
/// Where it does not it resets them.
bool kernel_migrates_requests();

}  // namespace sallyport::gateway
