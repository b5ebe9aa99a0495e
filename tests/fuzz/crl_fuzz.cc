// Any bytes as a CRL file: a file is refused, or holds a list for each of its blocks. The same
// bytes are tried as the DER inside of a block, and then both ways of reading them agree.
#include <openssl/err.h>
#include <openssl/pem.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

#include "ktls/base/openssl_handles.h"
#include "ktls/trust/crl.h"
#include "ktls/trust/pem_blocks.h"
#include "ktls/trust/pem_objects.h"
#include "ktls/trust/x509_facts.h"

namespace {

using namespace sallyport::ktls;

#define REQUIRE(condition) \
  if (!(condition)) __builtin_trap()

// What the loader asks of each list. A list that can be honoured has a scope.
void read(const ParsedCrl& parsed) {
  REQUIRE(parsed.crl);
  X509CrlPtr copy(X509_CRL_dup(parsed.crl.get()));
  ERR_clear_error();  // decoding leaves the reason for an extension that cannot be read
  const auto crl = Crl::make(std::move(copy));
  REQUIRE(ERR_peek_error() == 0);
  if (!crl) {
    REQUIRE(!crl.error().empty());
    return;
  }
  (void)name_text(crl->issuer_name());
  REQUIRE(crl->scope().user_certificates || crl->scope().ca_certificates);
}

std::string as_pem(std::string_view der) {
  const BioPtr out(BIO_new(BIO_s_mem()));
  if (PEM_write_bio(out.get(), "X509 CRL", "", reinterpret_cast<const unsigned char*>(der.data()),
                    static_cast<long>(der.size())) <= 0)
    std::abort();
  char* data = nullptr;
  const long size = BIO_get_mem_data(out.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto crls = parse_crls(text, "f");
  REQUIRE(ERR_peek_error() == 0);
  if (crls) {
    REQUIRE(!crls->empty());
    for (const ParsedCrl& each : *crls) read(each);
    if (crls->front().line) {
      const auto blocks = cut_pem(text, "f");
      REQUIRE(blocks && blocks->size() == crls->size());
    }
  } else {
    REQUIRE(crls.error().file == "f" && !crls.error().what.empty());
  }

  if (text.empty()) return 0;  // PEM_write_bio() says 0 of it, as of a failure
  const bool one_in_der = crls && crls->size() == 1 && !crls->front().line;
  const auto in_pem = parse_crls(as_pem(text), "f");
  if (in_pem) {
    REQUIRE(one_in_der && in_pem->size() == 1 && in_pem->front().line == 1U);
    read(in_pem->front());
    REQUIRE(X509_CRL_cmp(in_pem->front().crl.get(), crls->front().crl.get()) == 0);
  }
  ERR_clear_error();
  return 0;
}
