// Servers of other TLS libraries, to be backends. A program that is not installed makes the test
// fail; tests/run installs them all.
#pragma once

#include <csignal>
#include <memory>
#include <string>

#include "tests/support/pki.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace sallyport::test {

enum class TlsLibrary {
  kOpenssl,  ///< s_server
  kGnutls,   ///< gnutls-serv
  kNode,
  kGo,  ///< etcd, Debian's server of that library that is small and wants certificates of clients
  kJava,
};
const char* to_string(TlsLibrary library);

struct TlsServerSetup {
  TestCertificate certificate;
  std::string client_ca = {};  ///< PEM; given: it asks for a certificate of this
  bool insists = true;         ///< on one, where it asks; else a client may have none; not of Go
  bool tls12 = false;          ///< the latest version that it speaks; not of Go
  bool only_p256 = false;      ///< the only group; not of Go
  bool resumes = true;         ///< else it lets nobody resume; not of Go and Java
};

/// One of them as a process on 127.0.0.1, which accepts.
class TlsServer {
 public:
  TlsServer(TlsLibrary library, const TempDir& dir, const TlsServerSetup& setup);

  const std::string& address() const { return address_; }
  const Process& process() const { return *process_; }
  /// SIGSTOP: the kernel still accepts for it; and it goes on.
  void suspend() { process_->signal(SIGSTOP); }
  void resume() { process_->signal(SIGCONT); }
  /// What it is asked, and what its answer to that ends with.
  const std::string& request() const { return request_; }
  const std::string& answer() const { return answer_; }

 private:
  void start_openssl(const TempDir& dir, const TlsServerSetup& setup);
  void start_gnutls(const TempDir& dir, const TlsServerSetup& setup);
  void start_node(const TempDir& dir, const TlsServerSetup& setup);
  void start_go(const TempDir& dir, const TlsServerSetup& setup);
  void start_java(const TempDir& dir, const TlsServerSetup& setup);
  void start_and_learn_address(std::vector<std::string> argv, const std::string& before);

  std::unique_ptr<Process> process_;
  std::string address_;
  std::string request_ = "hello\n";
  std::string answer_ = "hello\n";
};

}  // namespace sallyport::test
