#include "ktls/records/record_reader.h"

#include <cstring>

namespace sallyport::ktls {

void PlaintextSpans::add(std::span<std::byte> content) noexcept {
  if (content.empty()) return;
  size_ += content.size();
  const bool own_span = content.size() >= kOwnSpanFrom && count_ < table_.size();
  if (count_ == 0 || own_span) {
    table_[count_++] = {content.data(), content.size()};
    return;
  }
  iovec& last = table_[count_ - 1];
  std::memmove(static_cast<std::byte*>(last.iov_base) + last.iov_len, content.data(),
               content.size());
  last.iov_len += content.size();
}

std::size_t RecordReader::read(std::span<std::byte> bytes, PlaintextSpans& plaintext,
                               const InboundState::Moment& moment) {
  std::span<std::byte> rest = bytes;
  while (!inbound_.ended() && rest.size() >= kRecordHeaderSize) {
    const auto header = opener_.check_header(rest.first<kRecordHeaderSize>());
    if (!header) {
      inbound_.refuse(header.error());
      break;
    }
    const std::size_t size = kRecordHeaderSize + header->length;
    if (rest.size() < size) break;
    const auto opened = opener_.open(rest.first(size));
    rest = rest.subspan(size);
    if (opened) {
      read_record(*opened, plaintext, moment);
    } else {
      inbound_.refuse(opened.error());
    }
  }
  return inbound_.ended() ? bytes.size() : bytes.size() - rest.size();
}

void RecordReader::read_record(const OpenedRecord& record, PlaintextSpans& plaintext,
                               const InboundState::Moment& moment) {
  inbound_.process(record.type, record.content, moment);
  if (inbound_.take_rekey()) opener_.next_generation();
  if (record.type == ContentType::kApplicationData && !inbound_.ended()) {
    plaintext.add(record.content);
  }
}

}  // namespace sallyport::ktls
