// Intel's ipsec-mb through its direct (one packet a call) functions. The library is loaded at run time, so that a build
// with it works on a machine without it; the manager's layout is checked by version, since it is read through the header.
#include "aead.hh"

#if defined(__x86_64__) && __has_include(<intel-ipsec-mb.h>)
#define LINUX  // the header aligns its structures only where this is set
#include <intel-ipsec-mb.h>

#include <dlfcn.h>

#include <cstdio>
#include <cstring>
#include <mutex>
#include <new>

namespace causeway {
namespace {

struct Library {
  IMB_MGR* manager = nullptr;
  char name[48] = "";
};

const char* archName(const IMB_MGR* manager) {
  const bool vaes = (manager->features & IMB_FEATURE_VAES) != 0;
  switch (manager->used_arch) {
    case IMB_ARCH_AVX512: return vaes ? "avx512+vaes" : "avx512";
    case IMB_ARCH_AVX2: return "avx2";
    case IMB_ARCH_AVX: return "avx";
    default: return "sse";
  }
}

/** Loads the library and keeps it for the life of the process. */
void load(Library* library) {
  void* handle = dlopen("libIPSec_MB.so.1", RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) return;
  const auto version = reinterpret_cast<decltype(&imb_get_version)>(dlsym(handle, "imb_get_version"));
  const auto alloc = reinterpret_cast<decltype(&alloc_mb_mgr)>(dlsym(handle, "alloc_mb_mgr"));
  const auto init = reinterpret_cast<decltype(&init_mb_mgr_auto)>(dlsym(handle, "init_mb_mgr_auto"));
  if (version == nullptr || alloc == nullptr || init == nullptr || version() >> 8 != IMB_VERSION_NUM >> 8) return;
  IMB_MGR* manager = alloc(0);
  if (manager == nullptr) return;
  IMB_ARCH arch = IMB_ARCH_NONE;
  init(manager, &arch);
  // Without AES instructions the library emulates them; OpenSSL does that better.
  if (arch < IMB_ARCH_SSE || manager->gcm256_enc == nullptr || manager->chacha20_poly1305_init == nullptr) return;
  library->manager = manager;
  snprintf(library->name, sizeof library->name, "ipsec-mb %u.%u %s", version() >> 16, version() >> 8 & 255, archName(manager));
}

const Library& library() {
  static Library loaded;
  static std::once_flag once;
  std::call_once(once, load, &loaded);
  return loaded;
}

bool sameTag(const uint8_t* a, const uint8_t* b) {
  uint64_t x[2], y[2];
  memcpy(x, a, sizeof x);
  memcpy(y, b, sizeof y);
  return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
}

class GcmKey final : public AeadKey {
 public:
  explicit GcmKey(const uint8_t* key) { IMB_AES256_GCM_PRE(library().manager, key, &data_); }
  ~GcmKey() override { explicit_bzero(&data_, sizeof data_); }

  bool seal(const AeadMessage& m) override {
    gcm_context_data context;
    IMB_AES256_GCM_ENC(library().manager, &data_, &context, m.body, m.body, m.length, m.nonce, m.header, m.headerLength,
                       m.body + m.length, kTagBytes);
    return true;
  }

  bool open(const AeadMessage& m) override {
    gcm_context_data context;
    uint8_t tag[kTagBytes];
    IMB_AES256_GCM_DEC(library().manager, &data_, &context, m.body, m.body, m.length, m.nonce, m.header, m.headerLength, tag,
                       kTagBytes);
    return sameTag(tag, m.body + m.length);
  }

 private:
  alignas(64) gcm_key_data data_;
};

class ChaChaKey final : public AeadKey {
 public:
  explicit ChaChaKey(const uint8_t* key) { memcpy(key_, key, sizeof key_); }
  ~ChaChaKey() override { explicit_bzero(key_, sizeof key_); }

  bool seal(const AeadMessage& m) override {
    IMB_MGR* manager = library().manager;
    alignas(64) chacha20_poly1305_context_data context;
    IMB_CHACHA20_POLY1305_INIT(manager, key_, &context, m.nonce, m.header, m.headerLength);
    IMB_CHACHA20_POLY1305_ENC_UPDATE(manager, key_, &context, m.body, m.body, m.length);
    IMB_CHACHA20_POLY1305_ENC_FINALIZE(manager, &context, m.body + m.length, kTagBytes);
    return true;
  }

  bool open(const AeadMessage& m) override {
    IMB_MGR* manager = library().manager;
    alignas(64) chacha20_poly1305_context_data context;
    uint8_t tag[kTagBytes];
    IMB_CHACHA20_POLY1305_INIT(manager, key_, &context, m.nonce, m.header, m.headerLength);
    IMB_CHACHA20_POLY1305_DEC_UPDATE(manager, key_, &context, m.body, m.body, m.length);
    IMB_CHACHA20_POLY1305_DEC_FINALIZE(manager, &context, tag, kTagBytes);
    return sameTag(tag, m.body + m.length);
  }

 private:
  alignas(64) uint8_t key_[kKeyBytes];
};

}  // namespace

bool ipsecMbUsable() { return library().manager != nullptr; }
const char* ipsecMbName() { return library().name; }

std::unique_ptr<AeadKey> makeIpsecMbKey(Cipher cipher, const uint8_t* key) {
  if (cipher == Cipher::Aes256Gcm) return std::unique_ptr<AeadKey>(new GcmKey(key));
  return std::unique_ptr<AeadKey>(new ChaChaKey(key));
}

}  // namespace causeway

#else

namespace causeway {
bool ipsecMbUsable() { return false; }
const char* ipsecMbName() { return ""; }
std::unique_ptr<AeadKey> makeIpsecMbKey(Cipher, const uint8_t*) { return nullptr; }
}  // namespace causeway

#endif
