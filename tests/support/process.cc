#include "tests/support/process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>

#include "tests/support/net.h"
#include "tests/support/wait.h"

extern char** environ;  // NOLINT

namespace sallyport::test {
namespace {

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> result;
  for (std::string& each : strings) result.push_back(each.data());
  result.push_back(nullptr);
  return result;
}

// Found before the fork: execvp is not required to be async-signal-safe.
std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  const char* path = std::getenv("PATH");
  std::string_view rest = path != nullptr ? path : "/usr/bin:/bin";
  while (!rest.empty()) {
    const auto colon = rest.find(':');
    const std::string candidate = std::string(rest.substr(0, colon)) + "/" + name;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
    if (colon == std::string_view::npos) break;
    rest.remove_prefix(colon + 1);
  }
  throw TestFailure(name + " is not installed; tests/run installs what the tests need");
}

}  // namespace

struct Process::State {
  pid_t pid = -1;
  Fd input;
  std::thread readers[2];
  std::mutex mutex;
  std::condition_variable changed;
  std::string collected[2];
  std::mutex reaping;  // a process that is reaped gets no signal: its id may be another's by then
  std::optional<int> status;

  void read_from(Fd pipe, int which) {
    char buffer[65536];
    for (;;) {
      const ssize_t size = ::read(pipe.get(), buffer, sizeof buffer);
      if (size < 0 && errno == EINTR) continue;
      if (size <= 0) return;
      const std::scoped_lock lock(mutex);
      collected[which].append(buffer, static_cast<std::size_t>(size));
      changed.notify_all();
    }
  }

  bool reap(int options) {
    const std::scoped_lock lock(reaping);
    return is_reaped(options);
  }
  void signal(int number) {
    const std::scoped_lock lock(reaping);
    if (!is_reaped(WNOHANG)) ::kill(pid, number);
  }
  bool is_reaped(int options) {
    if (status) return true;
    int raw = 0;
    if (::waitpid(pid, &raw, options) != pid) return false;
    status = WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw);
    return true;
  }

  void wait_for(int which, const std::string& what,
                const std::function<bool(std::string_view)>& condition) {
    std::unique_lock lock(mutex);
    const bool held =
        changed.wait_for(lock, kPatience, [&] { return condition(collected[which]); });
    if (!held) {
      throw TestFailure("never happened: " + what + "\nstdout:\n" + collected[0] + "\nstderr:\n" +
                        collected[1]);
    }
  }
};

Process::Process(std::vector<std::string> argv, std::vector<std::string> environment)
    : state_(std::make_unique<State>()) {
  const std::string program = find_program(argv.front());
  for (char** each = environ; *each != nullptr; ++each) environment.emplace_back(*each);
  std::vector<char*> arguments = pointers(argv);
  std::vector<char*> variables = pointers(environment);
  int in[2];
  int out[2];
  int err[2];
  if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0 || ::pipe2(err, O_CLOEXEC) != 0) {
    throw TestFailure("pipe2");
  }
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) throw TestFailure("fork");
  if (pid == 0) {
    // Only async-signal-safe calls from here to execve.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
    ::dup2(in[0], 0);
    ::dup2(out[1], 1);
    ::dup2(err[1], 2);
    ::signal(SIGPIPE, SIG_DFL);
    ::execve(program.c_str(), arguments.data(), variables.data());
    ::_exit(127);
  }
  ::close(in[0]);
  ::close(out[1]);
  ::close(err[1]);
  state_->pid = pid;
  state_->input = Fd(in[1]);
  State* state = state_.get();
  state_->readers[0] = std::thread([state, fd = out[0]] { state->read_from(Fd(fd), 0); });
  state_->readers[1] = std::thread([state, fd = err[0]] { state->read_from(Fd(fd), 1); });
}

Process::~Process() {
  state_->signal(SIGKILL);
  state_->reap(0);
  state_->input.close();
  for (std::thread& reader : state_->readers) {
    if (reader.joinable()) reader.join();
  }
}

pid_t Process::pid() const {
  return state_->pid;
}
bool Process::running() {
  return !state_->reap(WNOHANG);
}
void Process::signal(int number) {
  state_->signal(number);
}

std::string Process::out() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->collected[0];
}

std::string Process::err() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->collected[1];
}

void Process::wait_out(const std::string& what,
                       const std::function<bool(std::string_view)>& condition) {
  state_->wait_for(0, what, condition);
}

void Process::wait_err(const std::string& what,
                       const std::function<bool(std::string_view)>& condition) {
  state_->wait_for(1, what, condition);
}

void Process::write(std::string_view data) {
  while (!data.empty()) {
    const ssize_t written = ::write(state_->input.get(), data.data(), data.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw TestFailure(std::string("write to child: ") + std::strerror(errno));
    data.remove_prefix(static_cast<std::size_t>(written));
  }
}

void Process::close_input() {
  state_->input.close();
}

int Process::wait() {
  if (!eventually([this] { return state_->reap(WNOHANG); })) {
    throw TestFailure("process does not end\nstdout:\n" + out() + "\nstderr:\n" + err());
  }
  for (std::thread& reader : state_->readers) {
    if (reader.joinable()) reader.join();
  }
  return *state_->status;
}

Finished run(std::vector<std::string> argv, std::string_view input,
             std::vector<std::string> environment) {
  ::signal(SIGPIPE, SIG_IGN);  // a child that does not read its input is no reason to die
  Process process(std::move(argv), std::move(environment));
  if (!input.empty()) process.write(input);
  process.close_input();
  Finished finished;
  finished.status = process.wait();
  finished.out = process.out();
  finished.err = process.err();
  return finished;
}

}  // namespace sallyport::test
