#include "ktls/record_layer.h"

namespace sallyport::ktls {

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

}  // namespace sallyport::ktls
