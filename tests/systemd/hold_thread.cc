// Holds one thread of a process, as a defect would that makes it hang, until that process is gone:
//   hold_thread PID NAME
#include <sys/ptrace.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

namespace {

std::optional<pid_t> find_thread(const std::string& process, const std::string& name) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc/" + process + "/task")) {
    std::string own;
    std::getline(std::ifstream(entry.path() / "comm"), own);
    if (own == name) return std::stoi(entry.path().filename());
  }
  return std::nullopt;
}

int failed(const char* what) {
  std::perror(what);
  return EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const auto thread = find_thread(argv[1], argv[2]);
  if (!thread) return failed("no such thread");
  if (::ptrace(PTRACE_SEIZE, *thread, nullptr, nullptr) != 0) return failed("seize");
  if (::ptrace(PTRACE_INTERRUPT, *thread, nullptr, nullptr) != 0) return failed("interrupt");
  int status = 0;
  if (::waitpid(*thread, &status, __WALL) != *thread || !WIFSTOPPED(status)) return failed("wait");
  std::puts("held");
  std::fflush(stdout);
  // Its end, by the signal that ends the process.
  while (::waitpid(*thread, &status, __WALL) == *thread && !WIFEXITED(status) &&
         !WIFSIGNALED(status))
    continue;
  return EXIT_SUCCESS;
}
