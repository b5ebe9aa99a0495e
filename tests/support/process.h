#pragma once

#include <sys/types.h>

#include <chrono>
#include <csignal>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sallyport::test {

/// A child process with its standard streams in our hands. What it writes is collected by threads
/// of this object. A child that still runs when the object dies is killed, and so it is when the
/// test program itself is killed.
class Process {
 public:
  /// `argv[0]` is looked up in PATH. `environment` holds `NAME=value` beside what we inherited.
  explicit Process(std::vector<std::string> argv, std::vector<std::string> environment = {});
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const;
  /// From any thread.
  bool running();
  void signal(int number);

  /// Everything that came so far.
  std::string out() const;
  std::string err() const;
  /// Waits until what the child wrote fulfils the condition; throws TestFailure with both outputs.
  void wait_out(const std::string& what, const std::function<bool(std::string_view)>& condition);
  void wait_err(const std::string& what, const std::function<bool(std::string_view)>& condition);

  void write(std::string_view data);
  void close_input();

  /// Waits for the end and for the last output. The exit status, or 128 + signal. Throws
  /// TestFailure when patience ends.
  int wait();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Runs to the end with `input` on standard input.
struct Finished {
  int status = -1;
  std::string out;
  std::string err;
};
Finished run(std::vector<std::string> argv, std::string_view input = {},
             std::vector<std::string> environment = {});

}  // namespace sallyport::test
