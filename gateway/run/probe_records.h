// --records against what this kernel's TLS can do.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "gateway/connection/record_choice.h"
#include "gateway/run/options.h"
#include "metrics/registry.h"

namespace sallyport::gateway {

/// The flag, and, unless it is userspace, what the kernel can do: found out by trying it, which
/// takes some milliseconds. To be called with the privileges that the process was started with: see
/// ktls::KernelTls::probe().
[[nodiscard]] RecordChoice probe_records(const Options& options);

/// Why --records kernel cannot be honoured: something that the flags let clients negotiate is
/// beyond this kernel. Nothing if it can, or if the flag is another one.
[[nodiscard]] std::optional<std::string> records_unmet(const Options& options,
                                                       const RecordChoice& choice);

/// Where the records of what clients may negotiate will be made: "kernel", "userspace", or "kernel
/// and userspace" where it depends on version and suite.
[[nodiscard]] std::string_view expected_records(const Options& options, const RecordChoice& choice);

/// For the metrics; nothing if the kernel was not probed.
[[nodiscard]] std::optional<metrics::KtlsSupport> ktls_support_metrics(const RecordChoice& choice);

}  // namespace sallyport::gateway
