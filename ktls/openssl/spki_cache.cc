#include "ktls/openssl/spki_cache.h"

#include <openssl/bio.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/core_object.h>
#include <openssl/params.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ktls/base/recent_map.h"
#include "ktls/openssl/dispatch.h"

namespace sallyport::ktls {
namespace {

constexpr char kType[] = "EC";
constexpr std::size_t kMostKeys = 256;
/// Larger than any key on a named curve; what fills it takes the long way.
constexpr std::size_t kMostBytes = 512;

struct Functions {
  OSSL_FUNC_decoder_decode_fn* decode = nullptr;
  OSSL_FUNC_keymgmt_dup_fn* dup = nullptr;
  OSSL_FUNC_keymgmt_free_fn* free = nullptr;
  OSSL_FUNC_BIO_read_ex_fn* read = nullptr;
  OSSL_FUNC_BIO_ctrl_fn* control = nullptr;
  std::vector<OSSL_DISPATCH> decoder;
};
Functions* functions = nullptr;  ///< set before the first use and never freed, as OpenSSL's own

struct FreeKey {
  void operator()(void* key) const noexcept { functions->free(key); }
};
using Key = std::unique_ptr<void, FreeKey>;

struct Known {
  int selection;
  Key key;
};
thread_local RecentMap<std::string, Known> known_keys{kMostKeys};

Key copy(const void* key) {
  return Key(functions->dup(key, OSSL_KEYMGMT_SELECT_ALL));
}

// provider-object(7): the key's address, which whoever takes the key sets to null.
int hand_over(Key key, OSSL_CALLBACK* taker, void* argument) {
  int object = OSSL_OBJECT_PKEY;
  void* reference = key.release();
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &object),
      OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_TYPE, const_cast<char*>(kType), 0),
      OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_REFERENCE, &reference, sizeof reference),
      OSSL_PARAM_construct_end()};
  const int taken = taker(parameters, argument);
  key.reset(reference);
  return taken;
}

/// Between OpenSSL's decoder and whoever takes its key.
struct Witness {
  OSSL_CALLBACK* taker;
  void* argument;
  Key key = nullptr;
};

int see(const OSSL_PARAM parameters[], void* argument) {
  auto& witness = *static_cast<Witness*>(argument);
  const OSSL_PARAM* type = OSSL_PARAM_locate_const(parameters, OSSL_OBJECT_PARAM_DATA_TYPE);
  const OSSL_PARAM* reference = OSSL_PARAM_locate_const(parameters, OSSL_OBJECT_PARAM_REFERENCE);
  const bool ours = type != nullptr && reference != nullptr &&
                    std::strcmp(static_cast<const char*>(type->data), kType) == 0 &&
                    reference->data_size == sizeof(void*);
  Key seen = ours ? copy(*static_cast<void* const*>(reference->data)) : nullptr;
  const int taken = witness.taker(parameters, witness.argument);
  if (taken == 1) witness.key = std::move(seen);
  return taken;
}

std::string read_all(OSSL_CORE_BIO* in) {
  std::array<char, kMostBytes> room;
  std::size_t size = 0;
  if (functions->read(in, room.data(), room.size(), &size) != 1 || size == room.size()) return {};
  return {room.data(), size};
}

int decode(void* context, OSSL_CORE_BIO* in, int selection, OSSL_CALLBACK* taker, void* argument,
           OSSL_PASSPHRASE_CALLBACK* passphrase, void* passphrase_argument) {
  const auto position = [in] { return functions->control(in, BIO_C_FILE_TELL, 0, nullptr); };
  const int begin = position();
  Witness witness{.taker = taker, .argument = argument};
  try {
    const std::string bytes = begin < 0 ? std::string() : read_all(in);
    if (Known* known = bytes.empty() ? nullptr : known_keys.find(bytes);
        known != nullptr && known->selection == selection)
      if (Key key = copy(known->key.get())) return hand_over(std::move(key), taker, argument);
    if (begin >= 0) functions->control(in, BIO_C_FILE_SEEK, begin, nullptr);
    const int decoded =
        functions->decode(context, in, selection, see, &witness, passphrase, passphrase_argument);
    const bool whole = position() == begin + static_cast<int>(bytes.size());
    if (decoded == 1 && witness.key && !bytes.empty() && whole)
      known_keys.remember(bytes, {.selection = selection, .key = std::move(witness.key)});
    return decoded;
  } catch (const std::exception& exception) {
    return 0;  // no memory; and no exception may cross OpenSSL's frames
  }
}

}  // namespace

bool override_ec_decoder(OSSL_ALGORITHM& decoder, const OSSL_ALGORITHM& keys) {
  functions = new Functions;
  for (const OSSL_DISPATCH* at = keys.implementation; at->function_id != 0; ++at) {
    if (at->function_id == OSSL_FUNC_KEYMGMT_DUP) functions->dup = OSSL_FUNC_keymgmt_dup(at);
    if (at->function_id == OSSL_FUNC_KEYMGMT_FREE) functions->free = OSSL_FUNC_keymgmt_free(at);
  }
  const OSSL_DISPATCH* decodes = replace_function(
      decoder, OSSL_FUNC_DECODER_DECODE, reinterpret_cast<void (*)()>(decode), functions->decoder);
  if (decodes != nullptr) functions->decode = OSSL_FUNC_decoder_decode(decodes);
  return functions->dup != nullptr && functions->free != nullptr && functions->decode != nullptr;
}

bool set_spki_cache_core(const OSSL_DISPATCH* core) {
  for (; core->function_id != 0; ++core) {
    if (core->function_id == OSSL_FUNC_BIO_READ_EX) functions->read = OSSL_FUNC_BIO_read_ex(core);
    if (core->function_id == OSSL_FUNC_BIO_CTRL) functions->control = OSSL_FUNC_BIO_ctrl(core);
  }
  return functions->read != nullptr && functions->control != nullptr;
}

}  // namespace sallyport::ktls
