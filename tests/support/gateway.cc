#include "tests/support/gateway.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "tests/support/wait.h"

namespace sallyport::test {
namespace {

using nlohmann::json;

LogLine flatten(const json& object) {
  LogLine line;
  for (const auto& [key, value] : object.items()) {
    line[key] = value.is_string() ? value.get<std::string>() : value.dump();
  }
  return line;
}

// The last, unfinished line is left out: it is still being written.
std::vector<std::string> complete_lines(const std::string& text) {
  std::vector<std::string> lines;
  std::size_t at = 0;
  for (std::size_t end = 0; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
    if (end > at) lines.push_back(text.substr(at, end - at));
  }
  return lines;
}

std::vector<LogLine> parse_lines(const std::string& text) {
  std::vector<LogLine> result;
  for (const std::string& line : complete_lines(text)) {
    const json parsed = json::parse(line, nullptr, false);
    if (parsed.is_object()) result.push_back(flatten(parsed));
  }
  return result;
}

bool contains(const LogLine& line, const LogLine& wanted) {
  return std::ranges::all_of(wanted, [&](const auto& each) {
    const auto found = line.find(each.first);
    return found != line.end() && found->second == each.second;
  });
}

std::string unescape(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      result += text[i];
      continue;
    }
    ++i;
    result += text[i] == 'n' ? '\n' : text[i];
  }
  return result;
}

}  // namespace

Metrics::Metrics(std::string_view exposition) {
  std::istringstream lines{std::string(exposition)};
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line.front() == '#') continue;
    Series series;
    std::size_t at = line.find_first_of("{ ");
    if (at == std::string::npos) throw TestFailure("not a metric: " + line);
    series.name = line.substr(0, at);
    if (line[at] == '{') {
      ++at;
      while (at < line.size() && line[at] != '}') {
        const std::size_t equals = line.find("=\"", at);
        if (equals == std::string::npos) throw TestFailure("not a metric: " + line);
        std::size_t end = equals + 2;
        while (end < line.size() && line[end] != '"') end += line[end] == '\\' ? 2 : 1;
        series.labels[line.substr(at, equals - at)] =
            unescape(std::string_view(line).substr(equals + 2, end - equals - 2));
        at = end + 1;
        if (at < line.size() && line[at] == ',') ++at;
      }
      ++at;
    }
    series.value = std::stod(line.substr(at));
    series_.push_back(std::move(series));
  }
}

double Metrics::sum(const std::string& name, const Labels& labels) const {
  double total = 0;
  for (const Series& each : series_) {
    const bool named = each.name == name || each.name == "sallyport_" + name;
    if (named && contains(each.labels, labels)) total += each.value;
  }
  return total;
}

bool Metrics::has(const std::string& name, const Labels& labels) const {
  return std::ranges::any_of(series_, [&](const Series& each) {
    return (each.name == name || each.name == "sallyport_" + name) && contains(each.labels, labels);
  });
}

std::vector<std::string> Metrics::label_values(const std::string& name,
                                               const std::string& label) const {
  std::set<std::string> values;
  for (const Series& each : series_) {
    const auto found = each.labels.find(label);
    if (found == each.labels.end()) continue;
    if (each.name == name || each.name == "sallyport_" + name) values.insert(found->second);
  }
  return {values.begin(), values.end()};
}

std::vector<LogLine> parse_objects(std::string_view json_array) {
  const json parsed = json::parse(json_array, nullptr, false);
  if (!parsed.is_array()) throw TestFailure("not a JSON array: " + std::string(json_array));
  std::vector<LogLine> result;
  for (const json& each : parsed) result.push_back(flatten(each));
  return result;
}

bool is_json(std::string_view text) {
  return !json::parse(text, nullptr, false).is_discarded();
}

std::string wanted_records() {
  const char* const wanted = std::getenv("SALLYPORT_RECORDS");
  return wanted == nullptr ? "" : wanted;
}

std::string sallyport_program() {
  if (const char* given = std::getenv("SALLYPORT_BIN")) return given;
  return SALLYPORT_PROGRAM;
}

Finished run_sallyport(std::vector<std::string> flags) {
  flags.insert(flags.begin(), sallyport_program());
  return run(std::move(flags));
}

std::string sanitizer_report(std::string_view output) {
  for (const std::string_view sign :
       {"ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "WARNING: ThreadSanitizer",
        "runtime error:", "AddressSanitizer:DEADLYSIGNAL", "ThreadSanitizer:DEADLYSIGNAL"}) {
    const auto at = output.find(sign);
    if (at != std::string_view::npos) return std::string(output.substr(at, 6000));
  }
  return {};
}

Gateway::Gateway(std::vector<std::string> flags, bool wait_ready,
                 std::vector<std::string> environment)
    : Gateway(
          [&] {
            flags.insert(flags.begin(), sallyport_program());
            return Command{std::move(flags)};
          }(),
          wait_ready, std::move(environment)) {}

Gateway::Gateway(Command command, bool wait_ready, std::vector<std::string> environment) {
  const auto given = [&](const char* flag) { return std::ranges::count(command.argv, flag); };
  const auto wanted = static_cast<std::size_t>(given("--listen") + given("--egress"));
  const auto wanted_admin = std::max<std::ptrdiff_t>(1, given("--admin"));
  process_ = std::make_unique<Process>(std::move(command.argv), std::move(environment));
  wait_until("the gateway listens", [&] {
    listeners_.clear();
    std::ptrdiff_t admin = 0;
    for (const LogLine& line : operational_log()) {
      const auto message = line.find("message");
      const auto address = line.find("address");
      if (message == line.end() || address == line.end()) continue;
      if (message->second == "listening") listeners_.push_back(address->second);
      if (message->second != "admin listening") continue;
      admin_ = address->second;
      ++admin;
    }
    if (listeners_.size() >= wanted && admin >= wanted_admin) return true;
    if (!process_->running()) {
      throw TestFailure("the gateway ended with status " + std::to_string(process_->wait()) +
                        "\nstdout:\n" + process_->out() + "\nstderr:\n" + process_->err());
    }
    return false;
  });
  if (wait_ready) wait_until("the gateway is ready", [this] { return ready(); });
}

Gateway::~Gateway() = default;

Metrics Gateway::metrics() const {
  const HttpResponse response = get("/metrics");
  if (response.status != 200) throw TestFailure("/metrics answers " + response.head);
  Metrics scraped(response.body);
  for (const std::string& listener :
       scraped.label_values("connections_accepted_total", "listener")) {
    const Metrics::Labels of{{"listener", listener}};
    const double accepted = scraped.sum("connections_accepted_total", of);
    const double closed = scraped.sum("connections_closed_total", of);
    const double open = scraped.sum("connections", of);
    if (accepted != closed + open) {
      throw TestFailure("counters of " + listener + " disagree: accepted " +
                        std::to_string(accepted) + ", closed " + std::to_string(closed) +
                        ", open " + std::to_string(open));
    }
  }
  return scraped;
}

void Gateway::wait_metric(const std::string& name, const Metrics::Labels& labels,
                          double at_least) const {
  double seen = 0;
  const bool reached = eventually([&] {
    seen = metrics().sum(name, labels);
    return seen >= at_least;
  });
  if (reached) return;
  std::string described = name;
  for (const auto& [key, value] : labels)
    described.append(" ").append(key).append("=").append(value);
  throw TestFailure(described + " is " + std::to_string(seen) + ", never " +
                    std::to_string(at_least));
}

std::vector<LogLine> Gateway::connection_log() const {
  return parse_lines(process_->out());
}
std::vector<LogLine> Gateway::operational_log() const {
  return parse_lines(process_->err());
}

LogLine Gateway::wait_log(const LogLine& wanted) {
  LogLine found;
  const bool came = eventually([&] {
    for (LogLine& line : connection_log()) {
      if (!contains(line, wanted)) continue;
      found = std::move(line);
      return true;
    }
    return false;
  });
  if (came) return found;
  std::string described;
  for (const auto& [key, value] : wanted)
    described.append(key).append("=").append(value).append(" ");
  throw TestFailure("no log line with " + described + "\nstdout:\n" + process_->out() +
                    "\nstderr:\n" + process_->err());
}

std::vector<LogLine> Gateway::wait_logs(std::size_t count) {
  std::vector<LogLine> lines;
  wait_until(std::to_string(count) + " connection lines", [&] {
    lines = connection_log();
    return lines.size() >= count;
  });
  return lines;
}

std::string Gateway::wait_err(std::initializer_list<std::string_view> texts, std::size_t from) {
  std::string found;
  std::string wanted;
  for (const std::string_view text : texts) wanted.append("'").append(text).append("' ");
  process_->wait_err("a line on stderr with " + wanted, [&](std::string_view all) {
    const std::string rest(all.substr(std::min(from, all.size())));
    for (const std::string& line : complete_lines(rest)) {
      const bool has_all = std::ranges::all_of(
          texts, [&](std::string_view text) { return line.find(text) != std::string::npos; });
      if (!has_all) continue;
      found = line;
      return true;
    }
    return false;
  });
  return found;
}

long Gateway::rss_kib() const {
  std::ifstream status("/proc/" + std::to_string(process_->pid()) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return std::stol(line.substr(6));
  }
  throw TestFailure("no VmRSS");
}

std::string Gateway::stop() {
  if (!stopped_) process_->signal(SIGTERM);
  return ended(0);
}

std::string Gateway::ended(int expected_status) {
  stopped_ = true;
  std::string problems;
  const int status = process_->wait();
  const std::string report = sanitizer_report(process_->err());
  if (!report.empty()) problems += report + "\n";
  for (const std::string& line : complete_lines(process_->out())) {
    if (!is_json(line)) problems += "not JSON on stdout: " + line + "\n";
  }
  if (status != expected_status) {
    problems += "exit status " + std::to_string(status) + "\nstderr:\n" + process_->err();
  }
  return problems;
}

std::string discovery_json(const std::vector<DiscoveryGroup>& groups) {
  json all = json::array();
  for (const DiscoveryGroup& group : groups) {
    all.push_back({{"targets", group.targets}, {"labels", group.labels}});
  }
  return all.dump(1);
}

}  // namespace sallyport::test
