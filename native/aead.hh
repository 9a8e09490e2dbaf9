// Authenticated encryption of records in place, a batch a call, by one of two engines (docs/adr/0002-aead-engine.md).
#pragma once

#include <memory>

#include "batch.hh"

namespace causeway {

enum class Cipher : int { Aes256Gcm, ChaCha20Poly1305 };
constexpr size_t kKeyBytes = 32, kNonceBytes = 12, kTagBytes = 16;

struct AeadMessage {
  const uint8_t* nonce;   // kNonceBytes
  const uint8_t* header;  // associated data
  size_t headerLength;
  uint8_t* body;
  size_t length;          // of the body; kTagBytes of tag, or of room for it, follow
};

/** One key ready for use. Erased by its destructor. Not shared between threads. */
class AeadKey {
 public:
  virtual ~AeadKey() = default;
  /** Encrypts the body in place and writes the tag behind it. */
  virtual bool seal(const AeadMessage& message) = 0;
  /** Decrypts in place; false if the tag behind the body is wrong (compared in constant time), and then the body is undefined. */
  virtual bool open(const AeadMessage& message) = 0;
};

using MakeKey = std::unique_ptr<AeadKey> (*)(Cipher cipher, const uint8_t* key);

/** OpenSSL as Node carries it. nullptr if it refuses the cipher. */
std::unique_ptr<AeadKey> makeOpenSslKey(Cipher cipher, const uint8_t* key);
const char* openSslName();

/** Intel's multi-buffer library, if this build knows it and this machine has it (loaded once a process). */
bool ipsecMbUsable();
std::unique_ptr<AeadKey> makeIpsecMbKey(Cipher cipher, const uint8_t* key);
/** Such as "ipsec-mb 1.3 avx512+vaes". */
const char* ipsecMbName();

void exportAead(napi_env env, napi_value exports);

}  // namespace causeway
