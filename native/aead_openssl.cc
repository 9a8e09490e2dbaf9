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

  bool seal(const uint8_t* nonce, const uint8_t* header, uint8_t* body, size_t length) override {
    return begin(nonce, header, 1) && crypt(body, length) && finish(body + length) &&
           EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_AEAD_GET_TAG, kTagBytes, body + length) == 1;
  }

  bool open(const uint8_t* nonce, const uint8_t* header, uint8_t* body, size_t length) override {
    return begin(nonce, header, 0) && EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_AEAD_SET_TAG, kTagBytes, body + length) == 1 &&
           crypt(body, length) && finish(body + length);
  }

 private:
  bool begin(const uint8_t* nonce, const uint8_t* header, int encrypt) {
    int out = 0;
    return EVP_CipherInit_ex(context_, nullptr, nullptr, nullptr, nonce, encrypt) == 1 &&
           EVP_CipherUpdate(context_, nullptr, &out, header, kRecordHeader) == 1;
  }
  bool crypt(uint8_t* body, size_t length) {
    int out = 0;
    return length == 0 || EVP_CipherUpdate(context_, body, &out, body, static_cast<int>(length)) == 1;
  }
  bool finish(uint8_t* end) {
    int out = 0;
    return EVP_CipherFinal_ex(context_, end, &out) == 1;
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
