#include "ktls/record_layer.h"

namespace sallyport::ktls {

using iouring::Task;

std::string_view to_string(RecordModel model) noexcept {
  switch (model) {
    case RecordModel::kPlain:
      return "plain";
    case RecordModel::kUserspace:
      return "userspace";
    case RecordModel::kKernel:
      return "kernel";
  }
  return "unknown";
}

Task<Received> RecordLayer::receive() {
  Arrival arrival = arrivals();
  Received received;
  do {
    co_await arrival;
    received = co_await take(arrival);
  } while (received.kind == Received::Kind::kData && received.size() == 0);
  co_await arrival.ended();
  co_return received;
}

}  // namespace sallyport::ktls
