#include "ktls/trust/x509_facts.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/asn1.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <ctime>
#include <span>

#include "ktls/base/der.h"
#include "ktls/base/hex.h"
#include "ktls/base/openssl_handles.h"

namespace sallyport::ktls {
namespace {

constexpr std::size_t kMaxNameText = 253;  // 256 bytes with what says that it was cut

using BignumPtr = OpensslPtr<BIGNUM, BN_free>;

bool continues_utf8(char c) {
  return (static_cast<unsigned char>(c) & 0xc0) == 0x80;
}

bool is_control(char c) {
  return (c >= 0 && c < 0x20) || c == 0x7f;
}

// Of RFC 2253: the value at the front of `rest`, unescaped; then `rest` is what follows behind the
// comma or the plus.
std::string take_value(std::string_view& rest) {
  std::string value;
  std::size_t i = 0;
  for (; i < rest.size() && rest[i] != ',' && rest[i] != '+'; ++i) {
    std::byte coded{};
    if (rest[i] == '\\' && decode_hex(rest.substr(i + 1, 2), std::span(&coded, 1))) {
      value += static_cast<char>(coded);
      i += 2;
    } else {
      if (rest[i] == '\\' && i + 1 < rest.size()) ++i;
      value += rest[i];
    }
  }
  rest.remove_prefix(std::min(i + 1, rest.size()));
  return value;
}

// The curve as NIST has it, else OpenSSL's name; its bits where it has none (explicit parameters).
std::string curve_text(const EVP_PKEY* key) {
  char name[80];
  if (EVP_PKEY_get_group_name(key, name, sizeof name, nullptr) != 1) {
    (void)OpensslError::drain();
    return std::to_string(EVP_PKEY_get_bits(key));
  }
  const char* nist = EC_curve_nid2nist(OBJ_sn2nid(name));
  return nist != nullptr ? nist : name;
}

}  // namespace

std::chrono::sys_seconds to_time(const ASN1_TIME* time) {
  std::tm parts{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) {
    (void)OpensslError::drain();
    return {};
  }
  return std::chrono::sys_seconds(std::chrono::seconds(timegm(&parts)));
}

std::string name_text(const X509_NAME* name) {
  const BioPtr out(BIO_new(BIO_s_mem()));
  if (!out) std::abort();
  // RFC 2253 escapes control characters; UTF-8 stays readable.
  if (X509_NAME_print_ex(out.get(), name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) < 0)
    return OpensslError::drain("unreadable name").text;
  char* data = nullptr;
  const long size = BIO_get_mem_data(out.get(), &data);
  std::string text(data, static_cast<std::size_t>(size));
  if (text.size() > kMaxNameText) {
    std::size_t end = kMaxNameText;
    while (end > 0 && continues_utf8(text[end])) --end;
    text.resize(end);
    text += "...";
  }
  return text;
}

std::string common_name(std::string_view name_text) {
  if (name_text.size() >= kMaxNameText && name_text.ends_with("...")) return {};
  std::string found;
  while (!name_text.empty()) {
    const std::string_view type = name_text.substr(0, name_text.find('='));
    name_text.remove_prefix(std::min(type.size() + 1, name_text.size()));
    const bool encoded = name_text.starts_with('#');  // of no type of text
    const std::string value = take_value(name_text);
    // RFC 2253 has the last attribute first.
    if (type == "CN" && !encoded) found = value;
  }
  return std::ranges::any_of(found, is_control) ? std::string() : found;
}

std::string serial_text(const ASN1_INTEGER* serial) {
  // RFC 5280 4.1.2.2 allows 20 bytes; what peers send without proving anything may have 30,000.
  constexpr int kMost = 128;
  if (ASN1_STRING_length(serial) > kMost)
    return "of " + std::to_string(ASN1_STRING_length(serial)) + " bytes";
  const BignumPtr number(ASN1_INTEGER_to_BN(serial, nullptr));
  if (!number) return OpensslError::drain("unreadable serial").text;
  char* digits = BN_bn2hex(number.get());
  std::string text = digits != nullptr ? digits : "";
  OPENSSL_free(digits);
  return text;
}

std::string serial_text(std::string_view content) {
  const Asn1IntegerPtr serial = serial_of(content);
  return serial ? serial_text(serial.get()) : OpensslError::drain("unreadable serial").text;
}

std::string_view asn1_view(const ASN1_STRING* text) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
          static_cast<std::size_t>(ASN1_STRING_length(text))};
}

std::optional<std::string> why_not_decoded(int answer, std::string_view name) {
  constexpr int kAbsent = -1;
  constexpr int kTwice = -2;
  (void)OpensslError::drain();
  if (answer == kAbsent) return std::nullopt;
  return "extension " + std::string(name) + (answer == kTwice ? " twice" : " cannot be decoded");
}

std::string serial_bytes(const ASN1_INTEGER* serial) {
  unsigned char* der = nullptr;
  const int size = i2d_ASN1_INTEGER(serial, &der);
  if (size < 2) std::abort();
  std::span<const std::byte> whole(reinterpret_cast<const std::byte*>(der),
                                   static_cast<std::size_t>(size));
  const auto element = take_element(whole);
  if (!element) std::abort();
  std::string result(reinterpret_cast<const char*>(element->content.data()),
                     element->content.size());
  OPENSSL_free(der);
  return result;
}

Asn1IntegerPtr serial_of(std::string_view content) {
  std::string der = "\x02";
  const std::size_t size = content.size();
  if (size >= 0x80) {  // the long form, of four bytes (X.690 8.1.3.5)
    der += '\x84';
    for (const int shift : {24, 16, 8}) der += static_cast<char>(size >> shift);
  }
  der += static_cast<char>(size);
  der += content;
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  return Asn1IntegerPtr(d2i_ASN1_INTEGER(nullptr, &at, static_cast<long>(der.size())));
}

std::string key_text(const X509* certificate) {
  EVP_PKEY* key = X509_get0_pubkey(certificate);
  if (key == nullptr) {
    (void)OpensslError::drain();
    return "unknown";
  }
  const std::string bits = std::to_string(EVP_PKEY_get_bits(key));
  switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
      return "RSA " + bits;
    case EVP_PKEY_RSA_PSS:
      return "RSA-PSS " + bits;
    case EVP_PKEY_EC:
      return "EC " + curve_text(key);
    case EVP_PKEY_ED25519:
      return "Ed25519";
    case EVP_PKEY_ED448:
      return "Ed448";
    default: {
      const char* name = EVP_PKEY_get0_type_name(key);
      return name != nullptr ? name : "unknown";
    }
  }
}

std::vector<std::string> alternative_names(const X509* certificate) {
  const OpensslPtr<GENERAL_NAMES, GENERAL_NAMES_free> names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  (void)OpensslError::drain();
  std::vector<std::string> texts;
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* const name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_DNS) {
      texts.push_back("dns:" + std::string(asn1_view(name->d.dNSName)));
    } else if (name->type == GEN_URI) {
      texts.emplace_back(asn1_view(name->d.uniformResourceIdentifier));
    } else if (name->type == GEN_IPADD) {
      const std::string_view bytes = asn1_view(name->d.iPAddress);
      std::array<char, INET6_ADDRSTRLEN> text{};
      const int family = bytes.size() == sizeof(in_addr) ? AF_INET : AF_INET6;
      const bool whole = bytes.size() == sizeof(in_addr) || bytes.size() == sizeof(in6_addr);
      if (whole && ::inet_ntop(family, bytes.data(), text.data(), text.size()) != nullptr)
        texts.push_back(std::string("ip:") + text.data());
    }
  }
  return texts;
}

std::vector<std::byte> to_der(const X509* certificate) {
  unsigned char* der = nullptr;
  const int size = i2d_X509(certificate, &der);
  if (size < 0) std::abort();
  const auto* first = reinterpret_cast<const std::byte*>(der);
  std::vector<std::byte> result(first, first + size);
  OPENSSL_free(der);
  return result;
}

Sha256 sha256(std::span<const std::byte> bytes) {
  Sha256 result;
  unsigned size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), result.data(), &size, EVP_sha256(), nullptr) != 1)
    std::abort();
  return result;
}

}  // namespace sallyport::ktls
