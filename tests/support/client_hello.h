#pragma once

#include <string>

namespace sallyport::test {

/// What an honest client begins with: the record of OpenSSL's ClientHello.
std::string client_hello();

}  // namespace sallyport::test
