// What a peer presented, as JSON: for both files that show it.
#pragma once

#include <nlohmann/json.hpp>

#include "gateway/observe/timestamp.h"
#include "ktls/trust/presented_certificate.h"

namespace sallyport::gateway {

[[nodiscard]] inline nlohmann::ordered_json presented_json(
    const ktls::PresentedCertificate& presented) {
  return {{"spiffe", presented.spiffe},    {"dns", presented.dns},
          {"subject", presented.subject},  {"serial", presented.serial},
          {"issuer", presented.issuer},    {"not_after", rfc3339(presented.not_after)},
          {"verified", presented.verified}};
}

}  // namespace sallyport::gateway
