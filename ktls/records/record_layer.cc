#include "ktls/records/record_layer.h"

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
  while (true) {
    Arrival next = arrival();
    co_await next;
    Received received = co_await take(next);
    if (received.kind != Received::Kind::kData || received.size() != 0) co_return received;
  }
}

}  // namespace sallyport::ktls
