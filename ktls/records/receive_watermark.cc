#include "ktls/records/receive_watermark.h"

#include <sys/ioctl.h>
#include <sys/socket.h>

namespace sallyport::ktls {

int ReceiveWatermark::queued_bytes() const noexcept {
  int bytes = 0;
  if (::ioctl(socket_.descriptor(), FIONREAD, &bytes) != 0) return 0;
  return bytes;
}

void ReceiveWatermark::set(int bytes) noexcept {
  ::setsockopt(socket_.descriptor(), SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes);
  raised_ = bytes > 1;
}

}  // namespace sallyport::ktls
