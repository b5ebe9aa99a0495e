#include "gateway/run/fingerprint.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <new>

#include "ktls/trust/credential_file.h"

namespace sallyport::gateway {
namespace {

struct Chunk {
  std::array<std::byte, 16384> bytes;
  ~Chunk() { OPENSSL_cleanse(bytes.data(), bytes.size()); }
};

void digest(EVP_MD_CTX* context, const void* bytes, std::size_t size) {
  if (EVP_DigestUpdate(context, bytes, size) != 1) throw std::bad_alloc();
}

template <class Value>
void digest_value(EVP_MD_CTX* context, const Value& value) {
  digest(context, &value, sizeof value);
}

// Nothing of a file that cannot be opened.
void digest_owner(EVP_MD_CTX* context, const struct stat& status) {
  digest_value(context, status.st_mode);
  digest_value(context, status.st_uid);
  digest_value(context, status.st_gid);
}

// The length comes after the content, so that no byte can move from one file to the next unseen.
void digest_file(EVP_MD_CTX* context, const std::filesystem::path& file) {
  Chunk chunk;
  std::int64_t length = 0;
  const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) length = -errno;
  struct stat status{};
  const bool known = fd >= 0 && fstat(fd, &status) == 0;
  // A device, which has no end, is refused unread.
  while (known && S_ISREG(status.st_mode)) {
    const ssize_t count = read(fd, chunk.bytes.data(), chunk.bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) length = -errno;
    if (count <= 0) break;
    digest(context, chunk.bytes.data(), static_cast<std::size_t>(count));
    length += count;
  }
  digest_value(context, length);
  if (known) digest_owner(context, status);
  if (fd < 0) return;
  close(fd);
}

// Of what `add` gives to the digest.
template <class Add>
Fingerprint fingerprint_of(Add add) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                        EVP_MD_CTX_free);
  if (!context || EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) != 1) {
    throw std::bad_alloc();
  }
  add(context.get());
  Fingerprint result{};
  unsigned size = 0;
  if (EVP_DigestFinal_ex(context.get(), reinterpret_cast<unsigned char*>(result.data()), &size) !=
      1) {
    throw std::bad_alloc();
  }
  return result;
}

}  // namespace

Fingerprint fingerprint(std::span<const std::filesystem::path> files) {
  return fingerprint_of([files](EVP_MD_CTX* context) {
    for (const auto& file : files) digest_file(context, file);
  });
}

// The directory itself changes as well, by its mode.
std::vector<std::filesystem::path> expand(const std::string& source) {
  std::vector<std::filesystem::path> files{source};
  const auto found = ktls::files_of(source);
  const bool is_file = found && found->size() == 1 && found->front() == source;
  if (found && !is_file) files.insert(files.end(), found->begin(), found->end());
  return files;
}

Fingerprint Fingerprints::of(std::span<const std::string> sources) {
  return fingerprint_of([this, sources](EVP_MD_CTX* context) {
    for (const std::string& source : sources) {
      auto known = known_.find(source);
      if (known == known_.end()) known = known_.emplace(source, fingerprint(expand(source))).first;
      digest_value(context, known->second);
    }
  });
}

}  // namespace sallyport::gateway
