#include "gateway/run/explain.h"

#include <openssl/ssl.h>

#include <cstdio>
#include <string_view>
#include <utility>

#include "gateway/observe/text_value.h"
#include "gateway/observe/timestamp.h"
#include "gateway/policy/judge.h"
#include "gateway/policy/route.h"
#include "gateway/run/config.h"
#include "gateway/run/configuration_error.h"
#include "gateway/run/exit_code.h"
#include "gateway/run/process.h"
#include "ktls/base/ascii.h"
#include "ktls/trust/credential_file.h"
#include "ktls/trust/pem_blocks.h"

namespace sallyport::gateway {
namespace {

using ktls::HandshakeResult;

std::string protocols(const std::vector<std::string>& list) {
  std::string text;
  for (const std::string& each : list) text += (text.empty() ? "" : ":") + each;
  return text;
}

// As the client would send them. Keys that stand beside them are not decoded.
std::expected<std::vector<std::vector<std::byte>>, ktls::CredentialsError> read_certificates(
    const std::string& file) {
  const auto text = ktls::read_file(file, ktls::FileRules::kPublic);
  if (!text) return std::unexpected(text.error());
  const auto blocks = ktls::cut_pem((*text)->view(), file);
  if (!blocks) return std::unexpected(blocks.error());
  std::vector<std::vector<std::byte>> certificates;
  for (const ktls::PemBlock& block : *blocks) {
    if (block.label != "CERTIFICATE" && block.label != "X509 CERTIFICATE") continue;
    const auto der = ktls::decode(block);
    if (!der) return ktls::credentials_error(file, block.line, "bad certificate: is not base64");
    const auto bytes = std::as_bytes(std::span(der->view()));
    certificates.emplace_back(bytes.begin(), bytes.end());
  }
  if (certificates.empty()) return ktls::credentials_error(file, "holds no certificate in PEM");
  return certificates;
}

// Without keys and secrets. The first error, if it cannot be used.
std::optional<std::string> load(Config& config) {
  for (const SourceOutcome& outcome : config.reload(true).outcomes)
    if (outcome.error) return outcome.error;
  return std::nullopt;
}

void refuse(Explanation& explanation, HandshakeResult result) {
  explanation.result = result;
  explanation.alert = ktls::alert_for(result);
}

// The name of RFC 8446 with its number: "unknown_ca (48)".
std::string alert_text(ktls::AlertDescription alert) {
  const int number = static_cast<int>(alert);
  std::string name = SSL_alert_desc_string_long(number);
  for (char& c : name) c = c == ' ' ? '_' : ktls::ascii_lower(c);
  return name + " (" + std::to_string(number) + ")";
}

std::string presented_text(const ktls::PresentedCertificate& presented) {
  std::string names = presented.spiffe;
  for (const std::string& name : presented.dns) names += (names.empty() ? "" : ", ") + name;
  return (names.empty() ? "no SPIFFE ID or DNS name" : names) + "; subject " + presented.subject +
         ", serial " + presented.serial + ", issuer " + presented.issuer + ", expires at " +
         rfc3339(presented.not_after);
}

std::string to_text(const Explanation& explanation, const Options::Client& client,
                    std::size_t certificates) {
  std::string text;
  const auto line = [&text](std::string_view subject, const std::string& what) {
    text += std::string(subject) + ": " + terminal_text(what) + "\n";
  };
  line("client",
       std::to_string(certificates) + (certificates == 1 ? " certificate; " : " certificates; ") +
           (client.sni.empty() ? "no server name (--sni)" : "server name " + client.sni) + "; " +
           (client.alpn.empty() ? "no protocol (--alpn)" : "protocols " + protocols(client.alpn)));
  if (explanation.presented) line("presented", presented_text(*explanation.presented));
  for (const ktls::JudgementStep& step : explanation.steps)
    line(std::string(step.passed ? "passed " : "FAILED ") += step.subject, step.finding);
  if (!explanation.alert) {
    line("verdict", "let in on route " + explanation.route);
    return text;
  }
  line("verdict", "refused, " + std::string(to_string(explanation.result)) + ", alert " +
                      alert_text(*explanation.alert) +
                      (explanation.detail.empty() ? "" : ": " + explanation.detail));
  return text;
}

}  // namespace

std::expected<Explanation, std::string> explain_client(
    const Snapshot& snapshot, const Options::Client& client,
    std::span<const std::vector<std::byte>> certificates, ktls::WallClock clock) {
  Explanation explanation;
  ktls::JudgementSteps& steps = explanation.steps;
  const std::vector<std::string_view> offer(client.alpn.begin(), client.alpn.end());
  const auto choice = choose(*snapshot.policy, client.sni, offer);
  if (!choice) {
    refuse(explanation, choice.error());
    steps.push_back({"route", false,
                     choice.error() == HandshakeResult::kNoRoute
                         ? "none is for this server name"
                         : "those for this server name take none of these protocols"});
    return explanation;
  }
  const Route& route = *choice->route;
  explanation.route = route.name;
  steps.push_back(
      {"route", true,
       route.name + (choice->alpn.empty() ? ", no protocol is chosen"
                                          : ", protocol " + std::string(choice->alpn))});

  const auto& credentials = snapshot.credentials_of(route);
  const auto context = ktls::ServerContext::create(credentials, "explained", clock);
  if (!context) return std::unexpected(context.error().message());
  const auto trust = (*context)->verify_client(certificates);
  if (!trust) {
    const ktls::HandshakeFailure& failure = trust.error().failure;
    explanation.result = failure.result;
    explanation.alert = trust.error().alert;
    explanation.detail = failure.detail;
    explanation.presented = failure.presented;
    steps.insert(steps.end(), failure.steps.begin(), failure.steps.end());
    return explanation;
  }
  explanation.presented =
      std::make_shared<const ktls::PresentedCertificate>(ktls::presented(**trust));
  const Verdict verdict = judge(**trust, &route, *credentials, (*context)->now(), &steps);
  if (verdict.result() != HandshakeResult::kSuccess) refuse(explanation, verdict.result());
  return explanation;
}

int explain(const Options& options) {
  const Options::Client& client = *options.explain;
  const auto certificates = read_certificates(client.certificates);
  if (!certificates)
    return report_configuration_error("--explain " + certificates.error().message());

  const auto became = become_reader(options.user);
  if (!became) return report_configuration_error(became.error());
  Options without_secrets = options;
  without_secrets.pairs.clear();
  without_secrets.ticket_keys.clear();
  Config config(without_secrets);
  if (const auto error = load(config)) return report_configuration_error(*error);

  const Snapshot snapshot{.generation = 0,
                          .credentials = config.credentials(),
                          .named = config.named_credentials(),
                          .policy = config.policy(),
                          .endpoints = nullptr};
  const auto explanation = explain_client(snapshot, client, *certificates);
  if (!explanation) return report_configuration_error(explanation.error());
  std::fputs(to_text(*explanation, client, certificates->size()).c_str(), stdout);
  return explanation->alert ? kExitRefused : kExitDrained;
}

}  // namespace sallyport::gateway
