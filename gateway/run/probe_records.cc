#include "gateway/run/probe_records.h"

#include <vector>

#include "ktls/keys/suite.h"

namespace sallyport::gateway {
namespace {

using ktls::CipherSuite;
using ktls::kCipherSuites;
using ktls::RecordVersion;

std::vector<CipherSuite> negotiable(const Options& options) {
  std::vector<CipherSuite> suites;
  for (const std::string& name : options.ciphersuites) {
    if (const auto suite = ktls::suite_from_name(name)) suites.push_back(*suite);
  }
  if (suites.empty()) suites.assign(kCipherSuites.begin(), kCipherSuites.end());
  return suites;
}

}  // namespace

RecordChoice probe_records(const Options& options) {
  RecordChoice choice{.wanted = options.records, .kernel = {}};
  if (choice.wanted != RecordsWanted::kUserspace) choice.kernel = ktls::KernelTls::probe();
  return choice;
}

std::optional<std::string> records_unmet(const Options& options, const RecordChoice& choice) {
  if (choice.wanted != RecordsWanted::kKernel) return std::nullopt;
  for (const RecordVersion version : {RecordVersion::kTls13, RecordVersion::kTls12}) {
    if (version < options.min_tls) continue;
    for (const CipherSuite suite : negotiable(options)) {
      if (!choice.kernel.refuses(version, suite)) continue;
      std::string why = "--records 'kernel' cannot be honoured: ";
      if (choice.kernel.usable()) {
        why += "not with " + std::string(name(version)) + " and " + std::string(name(suite)) +
               ", which --min-tls or --ciphersuites could leave out; ";
      }
      return why + choice.kernel.describe();
    }
  }
  return std::nullopt;
}

std::string_view expected_records(const Options& options, const RecordChoice& choice) {
  if (choice.wanted == RecordsWanted::kUserspace) return "userspace";
  bool any_taken = false;
  bool any_refused = false;
  for (const RecordVersion version : {RecordVersion::kTls13, RecordVersion::kTls12}) {
    if (version < options.min_tls) continue;
    for (const CipherSuite suite : negotiable(options)) {
      const bool refused = choice.kernel.refuses(version, suite).has_value();
      (refused ? any_refused : any_taken) = true;
    }
  }
  if (any_taken && any_refused) return "kernel and userspace";
  return any_taken ? "kernel" : "userspace";
}

std::optional<metrics::KtlsSupport> ktls_support_metrics(const RecordChoice& choice) {
  if (choice.wanted == RecordsWanted::kUserspace) return std::nullopt;
  metrics::KtlsSupport support{.ciphers = {}, .rekey = choice.kernel.can_rekey()};
  for (const RecordVersion version : {RecordVersion::kTls13, RecordVersion::kTls12}) {
    for (const CipherSuite suite : kCipherSuites) {
      support.ciphers.push_back({.version = name(version),
                                 .cipher = aead_name(suite),
                                 .supported = !choice.kernel.refuses(version, suite)});
    }
  }
  return support;
}

}  // namespace sallyport::gateway
