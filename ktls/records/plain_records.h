#pragma once

#include <memory>

#include "ktls/records/record_layer.h"

namespace sallyport::ktls {

/// Plain TCP (or a unix stream) behind the record contract: FIN is kEndOfStream, send_close() is
/// SHUT_WR, send_alert() does nothing.
std::unique_ptr<RecordLayer> plain_records(iouring::Socket socket, RecordPools& pools);

}  // namespace sallyport::ktls
