#include "tests/support/canary.h"

#include <utility>

#include "tests/support/backend.h"
#include "tests/support/wait.h"

namespace sallyport::test {
namespace {

constexpr std::chrono::milliseconds kPause{5};  // between visits, so that others have the CPU, too

// Of the loopback's 16 million.
std::string next_source() {
  static std::atomic<unsigned> count = 0;
  const unsigned number = count++;
  return "127." + std::to_string(128 + number / 62'500 % 100) + "." +
         std::to_string(number / 250 % 250) + "." + std::to_string(1 + number % 250) + ":0";
}

void visit(Visit& visit, TlsClient& tls, std::string_view payload) {
  visit.source = tls.local_address();
  const std::string heard = tls.exchange(payload, payload.size() + 1);
  if (!heard.empty()) visit.backend = heard.front();
  const bool echoed = !heard.empty() && std::string_view(heard).substr(1) == payload;
  tls.close_notify();
  const std::string more = tls.receive_all();
  visit.whole = echoed && more.empty() && tls.end() == TlsEnd::kCloseNotify;
  if (visit.whole) return;
  visit.trouble = std::to_string(heard.size() + more.size()) + " bytes, " + to_string(tls.end()) +
                  ", alert " + std::to_string(tls.alert().value_or(-1)) + " " + tls.tls_error();
}

}  // namespace

Visit visit(const std::string& gateway, ClientOptions options, std::string_view payload) {
  options.source = next_source();
  Visit made{.source = options.source};
  try {
    TlsClient tls(gateway, std::move(options));
    visit(made, tls, payload);
  } catch (const TestFailure& failure) {
    made.trouble = failure.what();
  }
  return made;
}

const std::string& canary_payload() {
  static const std::string payload = "canary" + pseudo_random(65'530, 64);
  return payload;
}

Canary::Canary(std::string gateway, ClientOptions options)
    : thread_([this, gateway = std::move(gateway), options = std::move(options)] {
        live(gateway, options);
      }) {}

void Canary::live(const std::string& gateway, const ClientOptions& options) {
  while (!over_) {
    Visit made = visit(gateway, options, canary_payload());
    if (made.whole) {
      ++by_backend_[made.backend];
    } else {
      harmed_.push_back(std::move(made));
    }
    ++visits_;
    std::this_thread::sleep_for(kPause);
  }
}

void Canary::end() {
  over_ = true;
  if (thread_.joinable()) thread_.join();
}

std::string Canary::first_harm() const {
  return harmed_.empty() ? "" : harmed_.front().source + ": " + harmed_.front().trouble;
}

}  // namespace sallyport::test
