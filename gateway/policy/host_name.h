#pragma once

#include <string_view>

#include "ktls/base/ascii.h"

namespace sallyport::gateway {

using ktls::ascii_lower;

enum class Underscore { kRefused, kAllowed };

/// One label: 1-63 letters, digits and hyphens (RFC 1123), plus underscores where names are used
/// that way in the wild (SNI, backend names).
bool is_host_label(std::string_view label, Underscore underscore);

/// Labels between dots, at most 253 bytes, no trailing dot.
bool is_host_name(std::string_view name, Underscore underscore);

/// The name of a route in files, logs and metrics: 1-255 bytes without control characters. UTF-8 is
/// checked where the file is read.
bool is_route_name(std::string_view name);

/// An IPv4 or IPv6 address as inet_pton(3) reads it; IPv6 also in brackets.
bool is_ip_literal(std::string_view text);

}  // namespace sallyport::gateway
