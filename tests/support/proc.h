#pragma once

#include <sys/resource.h>

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

/// What /proc tells of processes and of the machine.
namespace sallyport::test {

inline std::size_t entries_of(const std::string& directory) {
  const std::filesystem::directory_iterator all(directory);
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}
/// Threads of a process, those of its rings among them.
inline std::size_t threads_of(const std::string& pid = "self") {
  return entries_of("/proc/" + pid + "/task");
}
/// Open descriptors of a process; of our own, the one that looks is among them.
inline std::size_t descriptors_of(const std::string& pid = "self") {
  return entries_of("/proc/" + pid + "/fd");
}

/// The number behind the first occurrence of a word in a file of /proc; 0 without one.
inline long proc_number(const std::string& file, const std::string& word) {
  std::ifstream in(file);
  std::string each;
  while (in >> each && each != word) continue;
  long value = 0;
  in >> value;
  return value;
}
/// How long the threads of a process whose names begin so were ready to run and did not, and what
/// the hypervisor took from the machine; ms. 0 where the kernel does not tell.
inline long starved_ms(const std::string& pid, const std::string& threads) {
  long total_ms = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/" + pid + "/task")) {
    std::string name;
    std::ifstream(task.path() / "comm") >> name;
    long ran_ns = 0;
    long waited_ns = 0;
    if (!name.starts_with(threads)) continue;
    std::ifstream(task.path() / "schedstat") >> ran_ns >> waited_ns;
    total_ms += waited_ns / 1'000'000;
  }
  std::ifstream all("/proc/stat");
  std::string value;  // of "cpu user nice system idle iowait irq softirq steal", in ticks of 10 ms
  for (int i = 0; i < 9; ++i) all >> value;
  return total_ms + std::atol(value.c_str()) * 10;
}
/// The nice value of the thread of a process whose name begins so; 99: there is none.
inline int nice_of_thread(const std::string& pid, const std::string& name) {
  for (const auto& task : std::filesystem::directory_iterator("/proc/" + pid + "/task")) {
    std::string found;
    std::ifstream(task.path() / "comm") >> found;
    if (found.starts_with(name))
      return ::getpriority(PRIO_PROCESS, static_cast<id_t>(std::stoul(task.path().filename())));
  }
  return 99;
}
/// TCP sockets in use in this network namespace.
inline long tcp_sockets() {
  return proc_number("/proc/net/sockstat", "inuse");
}
/// Memory of the kernel's own that it cannot give up; KiB. It moves by some 100 of its own accord.
inline long slab_kib() {
  return proc_number("/proc/meminfo", "SUnreclaim:");
}

}  // namespace sallyport::test
