#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/backend.h"

namespace sallyport::test {

/// Sends `name` once a client has spoken, then echoes. Answers an HTTP request with 200 instead.
Backend::Serve named_echo(char name);

/// The ways in which an endpoint fails.
enum class Fault {
  // A connect finds it out.
  kRefuses,          ///< nobody listens
  kDies,             ///< nobody listens, and its connections end
  kSwallows,         ///< SYNs are dropped
  kUnreachable,      ///< no route there: needs a NetworkNamespace
  kQueueFull,        ///< nobody accepts, and the accept queue is full
  kSocketMissing,    ///< the unix socket is gone
  kSocketStale,      ///< its file is there and nobody listens; it will be made anew
  kSocketForbidden,  ///< its mode is 000: see obey_modes()
  kSocketQueueFull,  ///< nobody accepts there, and the backlog is full
  // It accepts.
  kResets,       ///< at once
  kResetsLater,  ///< after some bytes
  kEndsLater,    ///< FIN after some bytes
  kStalls,       ///< says nothing, reads nothing
  kTrickles,     ///< one byte at a time
  kLags,         ///< reads little, now and then
};

bool is_found_by_connects(Fault fault);

/// Programs that this thread starts from now on obey the modes of files where they run as root,
/// too.
void obey_modes();

/// An endpoint that serves named_echo() until it breaks down, and again when it is mended. One
/// thread; its connections have theirs.
class FallibleEndpoint {
 public:
  struct Given {
    Fault fault = Fault::kRefuses;
    char name = 'f';
    std::string unix_socket = {};  ///< path of its socket, for the faults of those
    std::size_t bytes = 0;         ///< of faults that come later
  };
  explicit FallibleEndpoint(Given given);
  ~FallibleEndpoint();
  FallibleEndpoint(const FallibleEndpoint&) = delete;
  FallibleEndpoint& operator=(const FallibleEndpoint&) = delete;

  /// As a discovery file names it.
  const std::string& address() const { return address_; }
  /// What is connected goes on, but for kDies. No-op where it is broken already.
  void break_down();
  void mend();
  bool broken() const { return broken_; }

 private:
  void stop_listening();
  void listen_again();
  std::string host() const;

  const Given given_;
  std::string address_;
  std::atomic<bool> broken_ = false;  // for faults of those that accept
  std::unique_ptr<SilentAddress> silent_;
  /// The last one listens; the others have the connections of their time.
  std::vector<std::unique_ptr<Backend>> backends_;
};

}  // namespace sallyport::test
