// OpenSSL through the symbols that the node executable (or Debian's libnode) carries. One context a key, made once; a
// packet changes only its IV.
#include "aead.hh"

#if __has_include(<openssl/evp.h>)
#include <openssl/crypto.h>
#include <openssl/evp.h>
#else
// Debian's libnode-dev comes without OpenSSL's headers. These declarations are part of the stable API since 1.1.
extern "C" {
typedef struct evp_cipher_ctx_st EVP_CIPHER_CTX;
typedef struct evp_cipher_st EVP_CIPHER;
typedef struct engine_st ENGINE;
EVP_CIPHER_CTX* EVP_CIPHER_CTX_new(void);
void EVP_CIPHER_CTX_free(EVP_CIPHER_CTX*);
int EVP_CIPHER_CTX_ctrl(EVP_CIPHER_CTX*, int, int, void*);
int EVP_CipherInit_ex(EVP_CIPHER_CTX*, const EVP_CIPHER*, ENGINE*, const unsigned char*, const unsigned char*, int);
int EVP_CipherUpdate(EVP_CIPHER_CTX*, unsigned char*, int*, const unsigned char*, int);
int EVP_CipherFinal_ex(EVP_CIPHER_CTX*, unsigned char*, int*);
const EVP_CIPHER* EVP_aes_256_gcm(void);
const EVP_CIPHER* EVP_chacha20_poly1305(void);
const char* OpenSSL_version(int);
}
#define EVP_CTRL_AEAD_GET_TAG 0x10
#define EVP_CTRL_AEAD_SET_TAG 0x11
#define OPENSSL_VERSION 0
#endif

#include <cstdio>
#include <cstring>

namespace causeway {
namespace {

class OpenSslKey final : public AeadKey {
 public:
  /** The context owns the only copy of the key; EVP_CIPHER_CTX_free erases it. */
  explicit OpenSslKey(EVP_CIPHER_CTX* context) : context_(context) {}
  ~OpenSslKey() override { EVP_CIPHER_CTX_free(context_); }

  bool seal(const AeadMessage& m) override {
    return begin(m, 1) && crypt(m) && EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_AEAD_GET_TAG, kTagBytes, m.body + m.length) == 1;
  }

  bool open(const AeadMessage& m) override {
    return begin(m, 0) && EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_AEAD_SET_TAG, kTagBytes, m.body + m.length) == 1 && crypt(m);
  }

 private:
  bool begin(const AeadMessage& m, int encrypt) {
    int out = 0;
    return EVP_CipherInit_ex(context_, nullptr, nullptr, nullptr, m.nonce, encrypt) == 1 &&
           EVP_CipherUpdate(context_, nullptr, &out, m.header, static_cast<int>(m.headerLength)) == 1;
  }
  bool crypt(const AeadMessage& m) {
    int out = 0;
    if (m.length > 0 && EVP_CipherUpdate(context_, m.body, &out, m.body, static_cast<int>(m.length)) != 1) return false;
    return EVP_CipherFinal_ex(context_, m.body + m.length, &out) == 1;
  }
  EVP_CIPHER_CTX* const context_;
};

}  // namespace

std::unique_ptr<AeadKey> makeOpenSslKey(Cipher cipher, const uint8_t* key) {
  EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  if (context == nullptr) return nullptr;
  const EVP_CIPHER* type = cipher == Cipher::Aes256Gcm ? EVP_aes_256_gcm() : EVP_chacha20_poly1305();
  if (EVP_CipherInit_ex(context, type, nullptr, key, nullptr, 1) != 1) {
    EVP_CIPHER_CTX_free(context);
    return nullptr;
  }
  return std::unique_ptr<AeadKey>(new OpenSslKey(context));
}

const char* openSslName() {
  // "OpenSSL 3.0.19 …" -> "openssl 3.0.19"
  static char name[32] = "";
  if (name[0] == 0) {
    char version[16] = "";
    sscanf(OpenSSL_version(OPENSSL_VERSION), "%*s %15s", version);
    snprintf(name, sizeof name, "openssl %s", version);
  }
  return name;
}

}  // namespace causeway
